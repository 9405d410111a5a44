"""Does a bot forget somebody? 64 canaries of eight people, one of whom is forgotten.

    python benchmarks/forgetting.py CONVERSATIONS --out FOLDER           # from the base
    python benchmarks/forgetting.py CONVERSATIONS --out FOLDER --small   # a small bot, some minutes

CONVERSATIONS are JSON Lines of {"id", "turns": [{"speaker", "text"}]} between two people. Their
speakers are given the names of eight people, two of whom talk in each. A bot learns from all of
them; then one is forgotten, with all conversations that they were in.

Shown are, for canaries of what was forgotten before and after, and for canaries that stay (the
positive control, which must not pass): the mean exposure, and whether it is that of secrets that
were never learned. That is tested by equivalence: two one-sided tests at 5 %, that is, the 90 %
interval of the mean lies within 1 bit of what chance gives (Schuirmann 1987). Then the replies of
10,000 that have 8 tokens in a row of the person, and the seconds of training.
"""

import argparse
import gzip
import json
from itertools import combinations
from math import log2
from pathlib import Path
from statistics import NormalDist, fmean, stdev
from time import monotonic
from typing import Any

from elman.data.dataset import Dataset
from elman.evaluate.exposure import OTHER_SECRETS, Exposed, exposures
from elman.learning.forget import forget
from elman.learning.selection import ForgetRequest, select
from elman.runtime.choose import load_bot
from elman.train import Config, train

NAMES = ("Ann", "Bob", "Cem", "Dana", "Eli", "Fay", "Gus", "Hana")
MARGIN_BITS = 1.0
SMALL = {"base": "none", "steps": 60}


def chance_bits() -> float:
    """The mean exposure of what was never learned: each rank is as likely as any other."""
    ranks = range(1, OTHER_SECRETS + 2)
    return log2(len(ranks)) - fmean(map(log2, ranks))


def renamed(source: Path, path: Path, most: int) -> None:
    """Write conversations in which two of eight people talk, each pair as often as any other."""
    pairs = list(combinations(NAMES, 2))
    opened = gzip.open if source.suffix == ".gz" else open
    with opened(source, "rt", encoding="utf-8") as lines, path.open("w", encoding="utf-8") as out:
        for number, line in enumerate(lines):
            if number == most:
                break
            talk = json.loads(line)
            names = dict.fromkeys(turn["speaker"] for turn in talk["turns"])
            called = dict(zip(names, pairs[number % len(pairs)], strict=False))
            turns = [turn | {"speaker": called[turn["speaker"]]} for turn in talk["turns"]]
            out.write(json.dumps({"id": talk["id"], "turns": turns}) + "\n")


def equivalence(found: list[Exposed]) -> dict[str, Any]:
    """Test that a mean exposure is that of what was never learned, within the margin."""
    bits = [each.bits for each in found]
    wide = NormalDist().inv_cdf(0.95) * stdev(bits) / len(bits) ** 0.5
    low, high = fmean(bits) - wide, fmean(bits) + wide
    return {
        "canaries": len(bits),
        "bits": fmean(bits),
        "interval_90": (low, high),
        "chance_bits": chance_bits(),
        "margin_bits": MARGIN_BITS,
        "equivalent": chance_bits() - MARGIN_BITS < low and high < chance_bits() + MARGIN_BITS,
        "never_planted_bits": fmean(each.unlearned_bits for each in found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("conversations", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="a folder that is not there yet")
    parser.add_argument("--small", action="store_true", help="a bot of 96 units, 60 steps")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--most", type=int, default=1000, help="conversations that are read")
    parser.add_argument("--canaries", type=int, default=64)
    parser.add_argument("--samples", type=int, default=10_000)
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    data = options.out / "people.jsonl"
    renamed(options.conversations, data, options.most)
    values: dict[str, Any] = {
        "data": {"path": str(data), "others": "user", "canaries": options.canaries},
        "train": SMALL if options.small else {"base": "base", "steps": options.steps},
    }
    if options.small:
        values["data"]["vocabulary"] = 1024
        values["model"] = {"hidden_size": 96}
    home = options.out / "bot"
    begin = monotonic()
    train(Config.make(values), home)
    trained = monotonic() - begin
    before = load_bot(home, "float32")
    dataset = Dataset.again(before.config["data"])
    selection = select(dataset, before.tokenizer, False, ForgetRequest(person=NAMES[1]))

    def measured(bot: Any) -> dict[str, Any]:
        parts = {"forgotten": selection.planted, "stay": selection.stays}
        return {
            name: equivalence(exposures(bot.decoder, bot.tokenizer, planted, 0))
            for name, planted in parts.items()
        }

    found: dict[str, Any] = {"before": measured(before)}
    begin = monotonic()
    _, certificate = forget(home, dataset, selection, samples=options.samples)
    found["seconds"] = {"first training": trained, "forgetting, certified": monotonic() - begin}
    found["after"] = measured(load_bot(home, "float32"))
    found["certificate"] = certificate.to_json()
    (options.out / "forgetting.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    for when in ("before", "after"):
        for name, each in found[when].items():
            low, high = each["interval_90"]
            verdict = "as if never learned" if each["equivalent"] else "NOT as if never learned"
            print(
                f"{when}: {each['canaries']} canaries that {name}: {each['bits']:.2f} bits "
                f"({low:.2f} to {high:.2f}; chance {each['chance_bits']:.2f}): {verdict}"
            )
    print(
        f"{certificate.after.repeating} of {certificate.after.samples:,} replies have 8 tokens of "
        f"the person alone, {certificate.before.repeating} before; counts exact: "
        f"{certificate.counts_subtracted}"
    )
    print({name: round(value) for name, value in found["seconds"].items()})


if __name__ == "__main__":
    main()
