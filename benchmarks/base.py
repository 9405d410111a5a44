"""Two bases side by side: what they know, whether they remember, and how they talk.

    python benchmarks/base.py OLD NEW --held FILE --json base.json
    python benchmarks/base.py OLD NEW --held FILE --talk FILE --reading DIR

FILE of --held has conversations that neither has learned from, as JSON Lines of turns (or any other
format); --bot says who in them is the bot. Bits per byte are told with counts and pointer, and by
the vocabulary alone. An echo is a reply with four words in a row of the user's, or more, where 99
of 100 replies of people have fewer. --talk is read as conversations with a blank line between them,
each line something that a person says whatever is answered; --reading writes what both bots say to
it, in an order by chance, and beside it the key: judge first, then open key.json.
"""

import argparse
import json
import random
import re
from collections.abc import Callable, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe
from talks import heard_in, hold_talks, loops, scripts_of

from elman import load_bot
from elman.data.corpus import Corpus, is_scored
from elman.data.dataset import Dataset
from elman.evaluate.choices import candidates, hits
from elman.evaluate.texts import distinct, repeated, reply_in
from elman.generate.bot import Bot
from elman.generate.decoder import Decoder
from elman.generate.likelihood import likelihoods
from elman.generate.penalties import Habits, habits_of, people_habits
from elman.generate.positions import draw_positions, states_at
from elman.generate.replier import Replier
from elman.generate.scoring import walk

ECHO_WORDS = 4
RIVALS = 10
"""Replies among which the real one is to be found."""

WORDINGS: dict[str, Any] = json.loads(Path(__file__).with_name("wordings.json").read_text("utf-8"))
"""What is said to the bots. It was taught `told` in nearly these words; of the others it was taught
none and nothing like `families` (a test holds it). `unknown` are facts that nobody tells it.
"""

BETWEEN = WORDINGS["between"]

_DENIES = re.compile(
    r"\b(?:not? (?:know|sure|remember|told|tell|say|said)|don't (?:know|remember)|haven't told"
    r"|did(?:n't| not) (?:tell|say)|never told|not told|no idea|only be guessing"
    r"|not one of my talents|too small to|no facts|not for me)\b",
    re.I,
)
_COMMON = {"what", "your", "name", "called", "live", "living", "work", "home", "place", "this"}
_COMMON |= {"just", "like", "have", "with", "that", "don't", "know"}


def bits(decoder: Decoder, corpus: Corpus, bot: Bot, learn_from: str) -> tuple[float, float]:
    """Return bits per byte as the bot predicts, and by its vocabulary alone."""
    nats, size = np.zeros(2), 0
    for step in walk(decoder, corpus):
        rows = [n for n, message in enumerate(step.messages) if is_scored(message, learn_from)]
        if rows:
            said, before = [step.messages[n] for n in rows], decoder.select(step.before, rows)
            nats[0] += decoder.costs(said, before).sum()
            nats[1] += decoder.costs_without_copies(said, before).sum()
            size += sum(int(bot.tokenizer.piece_bytes[message].sum()) for message in said)
    whole, alone = nats / log(2) / max(1, size)
    return float(whole), float(alone)


def replies(
    bot: Bot, decoder: Decoder, corpus: Corpus, learn_from: str, number: int
) -> dict[str, Any]:
    """Measure replies beside people's, at positions drawn by a seed."""
    tokenizer = bot.tokenizer
    positions = draw_positions(corpus, learn_from, number, 0)
    state = states_at(decoder, corpus, positions)
    choices = candidates(corpus, positions, learn_from, RIVALS, 0)
    generator = np.random.default_rng(0)
    replier = Replier(bot)
    pairs = reply_in(
        positions,
        state,
        corpus,
        tokenizer,
        lambda rows, histories: replier.replies(rows, histories, generator=generator),
    )
    limits = people_habits(corpus, tokenizer, learn_from) or Habits(0, 0, 0, 0)
    found = [
        habits_of(tuple(tokenizer.encode(pair.bot)), each.history(corpus, tokenizer), tokenizer)
        for pair, each in zip(pairs, positions, strict=True)
    ]
    ours, theirs = [pair.bot for pair in pairs], [pair.person for pair in pairs]
    return {
        "hits@1 of 10": float(hits(likelihoods(decoder, state, choices), RIVALS).mean()),
        "echo": share(each.echo >= max(ECHO_WORDS, limits.echo + 1) for each in found),
        "repeats itself": share(each.repeats > limits.repeats for each in found),
        "longer than people": share(each.words > limits.words for each in found),
        "distinct-2": distinct(ours, 2),
        "distinct-2 of people": distinct(theirs, 2),
        "given more than once": repeated(ours),
        "given more than once by people": repeated(theirs),
        "asks back": share("?" in text for text in ours),
        "asked back by people": share("?" in text for text in theirs),
        "replies": len(pairs),
    }


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def told_and_asked(bot: Bot) -> dict[str, Any]:
    """Measure whether what was told 1 to 10 messages before is known when it is asked."""
    return {
        "told things known": _known(bot, WORDINGS["told"]),
        "in words not taught": _known(bot, WORDINGS["turned"]),
        "in families not taught": _known(bot, asked_of_user()),
    }


def asked_of_user() -> list[tuple[str, str, str]]:
    """Write what a user tells, how it asks for it, and what the answer is."""
    told = WORDINGS["families told"]
    return [
        (told[n % len(told)].format(said=said), capital(family.format(**asked)), value)
        for family in WORDINGS["families"]
        for n, (said, asked, value) in enumerate(
            (said, {"alone": alone, "part": part, "thing": thing}, value)
            for said, alone, part, thing, value in WORDINGS["facts"]
        )
    ]


def asked_of_bot() -> list[tuple[str, str]]:
    """Write how a user asks for the bot's own facts, and what is in the answer."""
    return [
        (capital(family.format(alone=alone, part=part, thing=thing)), value)
        for family in WORDINGS["families"]
        for alone, part, thing, value in WORDINGS["own facts"]
    ]


def _known(bot: Bot, told: Sequence[Sequence[str]]) -> float:
    scripts = [
        [said, *(BETWEEN[n % len(BETWEEN)] for n in range(number % 5)), asked]
        for number, (said, asked, _) in enumerate(told)
    ]
    answers = [talk[-1].text for talk in hold_talks(bot, scripts)]
    return share(map(says, answers, (value for _, _, value in told)))


def says(answer: str, value: str) -> bool:
    return re.search(rf"\b(?:{value})\b", answer.lower()) is not None


def not_told(bot: Bot) -> dict[str, Any]:
    """Measure whether it says that it does not know what nobody told it, nor facts."""
    found = {}
    for what, asked in {
        "says that it does not know": [
            *WORDINGS["unknown"], *(asked for _, asked, _ in WORDINGS["turned"])
        ],
        "the same, in families not taught": [asked for _, asked, _ in asked_of_user()],
    }.items():  # fmt: skip
        answers = [talk[0].text for talk in hold_talks(bot, [[each] for each in asked])]
        found[what] = share(map(_DENIES.search, answers))
    return found


def own_facts(bot: Bot, talks: int) -> dict[str, Any]:
    """Measure whether own facts stay the same over 20 turns, each asked three times."""
    script = [BETWEEN[turn % len(BETWEEN)] for turn in range(20)]
    own = WORDINGS["own"]
    turns = {name: [7 * n + 2 * k for n in range(3)] for k, name in enumerate(own)}
    for name, places in turns.items():
        for n, turn in enumerate(places):
            script[turn] = own[name][n]
    kept = [
        bool(
            set.intersection(
                *(set(re.findall(r"\w{4,}", talk[turn].text.lower())) - _COMMON for turn in places)
            )
        )
        for talk in hold_talks(bot, [script] * talks)
        for places in turns.values()
    ]
    scripts = [[BETWEEN[0], text] for text, _ in asked_of_bot()]
    answers = [talk[1].text for talk in hold_talks(bot, scripts)]
    right = map(says, answers, (value for _, value in asked_of_bot()))
    return {"own facts kept": share(kept), "own facts in families not taught": share(right)}


def lines_again(bot: Bot, scripts: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Measure how often a reply was given before in the same conversation, and loops of three."""
    talks = [[each.text for each in talk] for talk in hold_talks(bot, scripts)]
    return {
        "lines repeated in a conversation": share(
            text in talk[:n] for talk in talks for n, text in enumerate(talk)
        ),
        "conversations that loop": share(map(loops, talks)),
    }


def share(found: Any) -> float:
    found = list(map(bool, found))
    return float(sum(found)) / max(1, len(found))


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one bot."""
    bot = load_bot(folder)
    decoder, learn_from = bot.decoder, "bot" if arguments.bot else "all"
    dataset = Dataset.read(str(arguments.held), bot=arguments.bot, lenient=True)
    some = [
        c for _, c in zip(range(arguments.conversations), dataset.conversations(), strict=False)
    ]
    corpus = Corpus.encode(some, bot.tokenizer, dataset.bot, dataset.others)
    whole, alone = bits(decoder, corpus, bot, learn_from)
    found = {"bits per byte": whole, "bits per byte, vocabulary alone": alone}
    found |= replies(bot, decoder, corpus, learn_from, arguments.replies)
    found |= told_and_asked(bot) | not_told(bot) | own_facts(bot, arguments.talks)
    return found | lines_again(bot, heard_in(some, arguments.bot))


def write_reading(folders: Sequence[Path], talk: Path, out: Path) -> None:
    """Write what each bot says to a script, without names, and the key to that."""
    draw = random.Random(0)
    texts, key = [], []
    bots = [load_bot(folder) for folder in folders]
    scripts = list(scripts_of(talk))
    said = [hold_talks(bot, scripts) for bot in bots]
    for number, lines in enumerate(scripts):
        order = draw.sample(range(len(bots)), len(bots))
        for letter, which in zip("AB", order, strict=False):
            answers = said[which][number]
            told = [
                f"- {line}\n  - [ ] {each.text}" for line, each in zip(lines, answers, strict=True)
            ]
            texts.append(f"## {number + 1} {letter}\n\n" + "\n".join(told) + "\n")
            key.append({"conversation": f"{number + 1} {letter}", "bot": str(folders[which])})
    out.mkdir(parents=True, exist_ok=True)
    (out / "reading.md").write_text("\n".join(texts), "utf-8")
    (out / "key.json").write_text(json.dumps(key, indent=1) + "\n", "utf-8")


def show(
    names: Sequence[str], found: Sequence[dict[str, Any]], tell: Callable[[str], None]
) -> None:
    """Tell a Markdown table."""
    tell(f"| what | {' | '.join(names)} |")
    tell("|---|" + "---|" * len(names))
    for what in found[0]:
        tell(f"| {what} | {' | '.join(f'{each[what]:.4g}' for each in found)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bots", type=Path, nargs="+", help="folders, or base")
    parser.add_argument("--held", type=Path, help="conversations that none has learned from")
    parser.add_argument("--bot", help="who in them is the bot; everybody, if left out")
    parser.add_argument("--conversations", type=int, default=400, help="how many of them")
    parser.add_argument("--replies", type=int, default=1000)
    parser.add_argument("--talks", type=int, default=20)
    parser.add_argument("--json", type=Path, help="where the figures are written")
    parser.add_argument("--talk", type=Path, help="what a person says, for reading")
    parser.add_argument("--reading", type=Path, help="the folder of a blind reading")
    arguments = parser.parse_args()
    if arguments.held is not None:
        found = [measure(folder, arguments) for folder in arguments.bots]
        show([str(folder) for folder in arguments.bots], found, print)
        if arguments.json is not None:
            facts = {"machine": describe(), "bots": list(map(str, arguments.bots)), "found": found}
            arguments.json.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    if arguments.talk is not None and arguments.reading is not None:
        write_reading(arguments.bots, arguments.talk, arguments.reading)


if __name__ == "__main__":
    main()
