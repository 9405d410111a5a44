"""Make the base bot that comes with Elman: mix, train broadly, on the clean part, on two parts with
many wordings, and on talk that was written for it, and pack.

    python recipes/base.py --data DIR --work DIR               # about 10 hours of one core
    python recipes/base.py --data DIR --work DIR --pack-only --out FOLDER    # an hour

Interrupted, the same command goes on where it stopped. DIR of --data holds the sets that
`mixture.LICENSES` names. In DIR of --work lie the mixture (broad.jsonl, clean.jsonl, wide.jsonl,
settled.jsonl, talk.jsonl, plain.jsonl, held.jsonl) and the six runs (run1 to run6). Without --out
the bot in the package is replaced: it is what run4 gave. The two runs on written talk are for the
next one; the written replies that it gives are of the same talk.

What the later runs validate on, the first has read with the sides changed: their held-out bits per
byte choose a checkpoint and are no measure. The measure is held.jsonl, which none has read:

    python benchmarks/base.py OLD FOLDER --held DIR/held.jsonl --bot Elman --json base.json
    python recipes/card.py --work DIR --bot FOLDER --figures base.json
"""

import argparse
import shutil
import signal
from itertools import islice
from pathlib import Path
from typing import Any

import card
import manners
import match
import mixture
import smalltalk
import talk
import torch
import wordings
import written

import elman
from elman import load_bot
from elman.cli.progress import shown
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.generate.network import load_network_bot
from elman.generate.positions import HeldOut
from elman.generate.scoring import subset
from elman.model.checkpoint import save_weights
from elman.model.folder import BASE, CONFIG, SMALL_TALK, TOKENIZER, read_config
from elman.model.tensor_files import read_tensors
from elman.train import Config, resume, train
from elman.train.checkpoints import last_checkpoint
from elman.train.config import write_config
from elman.train.finishing import fitted, measured_int8_loss
from elman.train.prepare import Data

EVERY_RUN: dict[str, dict[str, Any]] = {
    "data": {
        "bot": mixture.BOT,
        "others": "user",
        "learn_from": "all",
        "split": "id",
        "replies": 0,
    },
    "model": {"dropout": 0.05, "ngrams": 0},
    "train": {
        "batch_size": 32,
        "unfold": 96,
        "validation_tokens": 60_000,
        "precision": "auto",
    },
}

BROAD_RUN: dict[str, dict[str, Any]] = {
    "data": {"vocabulary": 4096},
    "model": {"layers": 2, "hidden_size": 768, "mlp": 1.0, "pointer": 0},
    "train": {"base": None, "steps": 9000, "lr": 1.5e-3, "validations": 30, "patience": 30},
}
"""The broad part, without a pointer."""

BROAD_RUN_STOPS_AFTER = 6000
"""Steps. The rate falls as if it were to go on to 9,000, but the cleaner part is where it ends.

The run behind the base was interrupted at step 6,038. Its weights are those of the validation at
step 6,000, the best until then; the 38 steps after that are in nothing.
"""

CLEAN_RUN: dict[str, dict[str, Any]] = {
    "data": {},
    "model": {"pointer": 256},
    "train": {
        "steps": 3500,
        "lr": 5e-4,
        "pointer_loss_weight": 0.03,
        "warmup": 0.02,
        "validations": 14,
        "patience": 14,
    },
}
"""The cleaner part, from where the first run stopped, with a pointer."""

WIDE_RUN: dict[str, dict[str, Any]] = {
    "data": {},
    "model": {"pointer": 256},
    "train": {
        "steps": 340,
        "lr": 3e-4,
        "pointer_loss_weight": 0.03,
        "warmup": 0.04,
        "validations": 5,
        "patience": 5,
        "validation_tokens": 20_000,
    },
}
"""The part with many wordings, from the best weights of the second run.

The run behind the base was begun for 500 steps, and its end was set to 340 after 112 of them, from
where the rate fell faster.
"""

MIXED_SHARE = 0.4
"""How far the weights go from those of the second run to those of the third. All the way, wordings
are known best, and other talk is predicted 2 % worse; so far it is 0.1 to 0.3 % (LOG.md).
"""

SETTLED_RUN: dict[str, dict[str, Any]] = {
    "data": {},
    "model": {"pointer": 256},
    "train": {
        "steps": 900,
        "lr": 1e-4,
        "pointer_loss_weight": 0.03,
        "warmup": 0.04,
        "validations": 6,
        "patience": 6,
        "validation_tokens": 20_000,
    },
}
"""The part with some wordings, from the mixed weights: slower, so that other talk does not pay.

The run behind the base started from the int8 weights of the base before it.
"""

TALK_RUN: dict[str, dict[str, Any]] = {
    "data": {},
    "model": {"pointer": 256},
    "train": {
        "steps": 1100,
        "lr": 6e-4,
        "pointer_loss_weight": 0.03,
        "warmup": 0.04,
        "validations": 7,
        "patience": 7,
        "validation_tokens": 20_000,
    },
}
"""The talk that was written for it, from the weights of the run before.

This run and the next were tried, from the int8 weights of the base, and are not behind the base
that comes with Elman: read blind, it made no more sense (LOG.md).
"""

TALK_RUN_STOPS_AFTER = 763
"""Steps. The rate falls further on plain talk."""

PLAIN_RUN: dict[str, dict[str, Any]] = TALK_RUN | {
    "train": TALK_RUN["train"] | {"steps": 440, "lr": 4e-4, "validations": 3, "patience": 3},
}
"""The plainest talk last, while the rate falls to nothing."""

REPLY = {"temperature": 0.7, "min_p": 0.1, "samples": 16}
"""How replies are drawn; the rest is fitted. Chosen by reading, where F1 of words does not tell
(LOG.md): twice as many samples, since it is known which of them belong.
"""

FITTING_TOKENS = 60_000
"""Held-out tokens on which replies are fitted."""


class Stop:
    """Stops a run after a step, or when Ctrl-C asks for it; both save it.

    Args:
        last: the step.
    """

    def __init__(self, last: int) -> None:
        self._last, self._done = last, 0
        self.interrupted = False
        signal.signal(signal.SIGINT, self._interrupt)

    def __call__(self) -> bool:
        return self.interrupted or self._done >= self._last

    def observe(self, kind: str, facts: dict[str, Any]) -> None:
        """Count the steps, as an `Observer`."""
        if kind == "step":
            self._done = facts["step"]

    def _interrupt(self, *_: object) -> None:
        self.interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the second one ends at once


def learn(
    settings: dict[str, dict[str, Any]], chats: Path, out: Path, base: Path | None, last: int
) -> None:
    """Begin one of the runs, or go on with it, unless it is done.

    Args:
        settings: what it has beside `EVERY_RUN`.
        chats: what it learns from.
        out: the run's folder.
        base: the run that it starts from.
        last: the step after which it is done.
    """
    stop = Stop(last)
    with shown(as_json=False) as observer:
        kept = last_checkpoint(out)
        if kept is None:
            values = {name: EVERY_RUN[name] | settings[name] for name in settings}
            values["data"]["path"] = str(chats.resolve())
            if base is not None:
                values["train"]["base"] = str(base.resolve())
            train(Config.make(values), out, observers=(observer, stop.observe), stop=stop)
        elif read_tensors(kept)[1]["trainer"]["steps"] < last:
            resume(out, observers=(observer, stop.observe), stop=stop)
    if stop.interrupted:
        raise SystemExit(f"{out}: saved; the same command goes on")


def read_held_out(path: Path, run: Path) -> Corpus:
    """Encode held-out conversations as the bot of a run sees them, without those measured on."""
    bot = load_network_bot(run)
    dataset = Dataset.read(str(path), bot=mixture.BOT, others=bot.data.others)
    some = islice(dataset.conversations(), manners.MEASURED_CONVERSATIONS, None)
    corpus = Corpus.encode(some, bot.tokenizer, dataset.bot, dataset.others)
    return subset(corpus, FITTING_TOKENS)


def mix_weights(one: Path, other: Path, out: Path) -> None:
    """Write a run's folder whose weights lie between those of two others (Wortsman et al. 2022,
    "Robust fine-tuning of zero-shot models").

    Args:
        one: the run that comes before.
        other: the run that started from it.
        out: the folder.
    """
    out.mkdir(exist_ok=True)
    mixed, after = load_network_bot(one), load_network_bot(other).chatbot.state_dict()
    with torch.no_grad():
        for name, weight in mixed.chatbot.state_dict().items():
            weight.lerp_(after[name], MIXED_SHARE)
    save_weights(out, mixed.chatbot, mixed.tokenizer)
    for name in (CONFIG, TOKENIZER):
        shutil.copy(other / name, out / name)


def pack(run: Path, work: Path, data: Path, out: Path) -> None:
    """Write the bot that is given away: int8 weights, how it replies, which replies belong, its
    manners, small talk, written replies, a card.

    Nothing in it names the machine that made it.

    Args:
        run: the last run's folder.
        work: where the mixture is.
        data: where the sets are.
        out: the bot's folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    trained = load_network_bot(run)
    save_weights(out, trained.chatbot, trained.tokenizer, "int8")
    shutil.copy(run / TOKENIZER, out / TOKENIZER)
    config = Config.make(read_config(run) | {"elman": elman.__version__})
    given = REPLY | {"fitted": sorted(config.reply.open - REPLY.keys())}
    config = config.changed(data={"path": "base"}, train={"base": None}, reply=given)
    write_config(out, config)

    held = read_held_out(work / "held.jsonl", run)
    bot, learn_from = load_network_bot(out), config.data.learn_from
    match.write(load_bot(out))
    found = Data(bot.tokenizer, train=held, dev=held, config=config)
    replies = HeldOut.of(bot.decoder, bot.tokenizer, held, learn_from)
    reply = fitted(config.reply, bot, found, replies)
    print(f"replies: {reply.model_dump(mode='json')}")
    loss = measured_int8_loss(run, found, ())
    print(f"int8 weights take {loss} more, as a share of the bits")
    write_config(out, config.model_copy(update={"reply": reply, "int8_loss": loss}))
    manners.write(work, load_bot(out))

    written.write(load_bot(out), work)
    smalltalk.write(data, work / "held.jsonl", out / SMALL_TALK)
    card.write(work, out)
    print(f"{out}: {sum(path.stat().st_size for path in out.iterdir()):,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="where the sets are")
    parser.add_argument("--work", type=Path, required=True, help="where mixture and runs are kept")
    parser.add_argument("--out", type=Path, default=BASE, help="where the bot is written")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pack-only", action="store_true", help="from the runs that are there")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data, work = arguments.data, arguments.work
    broad, clean, held = (work / f"{part}.jsonl" for part in ("broad", "clean", "held"))
    if not all(path.exists() for path in (broad, clean, held)):
        mixture.mix(data, work)
    for name in wordings.PARTS:
        if not (work / f"{name}.jsonl").exists():
            wordings.write(name, data, work)
    for name in talk.PARTS:
        if not (work / f"{name}.jsonl").exists():
            talk.write(name, work)
    if not arguments.pack_only:
        learn(BROAD_RUN, broad, work / "run1", None, BROAD_RUN_STOPS_AFTER)
        learn(CLEAN_RUN, clean, work / "run2", work / "run1", CLEAN_RUN["train"]["steps"])
        wide, settled = work / "wide.jsonl", work / "settled.jsonl"
        learn(WIDE_RUN, wide, work / "run3", work / "run2", WIDE_RUN["train"]["steps"])
        mix_weights(work / "run2", work / "run3", work / "mixed")
        learn(SETTLED_RUN, settled, work / "run4", work / "mixed", SETTLED_RUN["train"]["steps"])
        written, plain = work / "talk.jsonl", work / "plain.jsonl"
        learn(TALK_RUN, written, work / "run5", work / "run4", TALK_RUN_STOPS_AFTER)
        learn(PLAIN_RUN, plain, work / "run6", work / "run5", PLAIN_RUN["train"]["steps"])
    pack(work / "run6", work, data, arguments.out)


if __name__ == "__main__":
    main()
