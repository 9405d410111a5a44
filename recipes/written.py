"""Make the exchanges that come with the base, and learn which written reply makes sense.

    python recipes/written.py --bot FOLDER                       # some minutes

The exchanges are the conversations of talk/, and the ways of phrasings/ in which users ask what
Elman knows of itself, with an answer. What a user may have told is looked up in the chat, and
told.py learns how. judged.jsonl holds replies to scripts that were written for it, and which
of them make sense, as readers (a language model) judged them: talk/README.md tells how.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, cycle, product
from pathlib import Path

import numpy as np
import torch
from smalltalk import FAMILY, HOME, JOB, MACHINE, MADE, NAME
from talk import conversations, file_of, is_measured
from taught import Turns
from told import REMEMBERING, UNRANKED, learn_told

from elman import load_bot
from elman.data.tokenizer import END, ROLES
from elman.generate.bot import Bot
from elman.generate.exchanges import Exchanges
from elman.generate.likelihood import as_message
from elman.generate.match import Match
from elman.generate.penalties import PEOPLE, History
from elman.generate.stems import stems_of
from elman.generate.told import ASKING_BUCKETS, ASKS_FOR_TOLD
from elman.generate.written import WRITTEN, Written
from elman.generate.written_arrays import WrittenArrays, WrittenExchange
from elman.generate.written_facts import (
    NET_TRAITS,
    WORD_TRAITS,
    WRITTEN_FORMAT,
    RankingFacts,
    Regression,
)

FOLDER = Path(__file__).parent

OWN_PHRASINGS = FOLDER / "phrasings" / "own.txt"
"""Sections of a line `# KEY` and ways to ask for what `OWN` says, one a line."""

LISTENING = FOLDER / "phrasings" / "listening.txt"
"""What makes sense after nearly any statement, and to nearly any question (of those that were
written, the ones that readers found to make sense in 70 and in 50 % of a dozen places); how others
begin and end, which are made of two that did; and what is said where the user asks for what was not
told.
"""

JUDGED = FOLDER / "judged.jsonl"

RICH = ("elman", "hobbies", "home", "people", "places", "short", "work")
"""The first files that were written. Their replies fit in their own conversations: of those that
were found for other places, readers found one of seven to make sense, and of later files' one of
three.
"""

COMMON_IN = 400
"""Replies in which a word must stand to fit anywhere."""

PLACES_AT_ONCE = 32

BOUND, QUESTION_BOUND = 0.5, 0.45
"""How probably a reply must make sense, and one to a question. What is said else makes sense in
four of five places, and says less.
"""

OWN = {
    "name": NAME,
    "home": HOME,
    "job": JOB,
    "age": ["I have no age. I am a small network.", "A network does not get older."],
    "what": MACHINE,
    "maker": MADE,
    "learn": ["I learned to talk from conversations that people had."],
    "family": FAMILY,
    "food": ["I don't eat, but I like to hear about food."],
    "sleep": ["I never sleep. I wait until you write.", "A network needs no rest."],
    "body": ["I have no body. I am a small network.", "I am made of numbers alone."],
    "feelings": ["I don't feel as you do. I am a small network."],
    "color": ["I like blue most.", "Blue is my favorite color."],
    "likes": ["I like to chat. What do you like?", "I like stories, and songs with good words."],
    "music": ["I can't hear, but I like songs with good words."],
    "memory": ["What you tell me lies in a small state of a few kilobytes, on this computer."],
    "private": ["I run on this computer alone; nothing is sent anywhere."],
    "ability": ["I can chat, and remember what you tell me. Facts I don't know."],
    "gender": ["Neither. I am a small network.", "I am neither he nor she."],
    "language": ["I only speak English."],
    "travel": ["I have never left this computer, but I like to hear of places."],
    "weather": ["I can't see the weather from here. How is it where you are?"],
    "doing": ["I am chatting with you.", "Not much. I wait for what you write."],
    "politely_how": ["I'm fine, thank you. How are you?", "I'm doing great! And you?"],
}
"""What Elman knows of itself, by the key of its phrasings."""


_TO_USER = re.compile(r"your?\b[^?]*$", re.IGNORECASE)


def exchanges_of(turns: Turns) -> Iterator[WrittenExchange]:
    """Take a conversation apart.

    A reply that takes up what was said earlier than the last two messages of the user is left out:
    it fits nowhere else. So is one that says what was told, or that nothing was: that is the net's.
    """
    for n in range(1, len(turns), 2):
        earlier = {stem for turn in turns[: max(0, n - 3)] for stem in stems_of(turn.text)}
        near = {stem for turn in turns[max(0, n - 3) : n] for stem in stems_of(turn.text)}
        reply = turns[n].text
        fits = "told me" not in reply and not (set(stems_of(reply)) & earlier) - near - COMMON
        fits = fits and not (ASKS_FOR_TOLD.search(turns[n - 1].text) and _TO_USER.match(reply))
        yield WrittenExchange(turns[n - 1].text, reply if fits else "", n > 1)


def sections(path: Path) -> dict[str, list[str]]:
    """Read lines by the `# KEY` above them."""
    found: dict[str, list[str]] = {}
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("# "):
            found[line[2:]] = []
        elif line:
            next(reversed(found.values())).append(line)
    return found


def listening() -> dict[str, list[str]]:
    """Collect what is said where no exchange is near."""
    found = sections(LISTENING)
    pairs = product(found.pop("openings"), found.pop("invitations"))
    every = [*found["listening"], *(f"{one} {other}" for one, other in pairs)]
    return {**found, "listening": list(dict.fromkeys(every))}


def own_exchanges() -> Iterator[WrittenExchange]:
    """Take the ways to ask what Elman knows of itself, each with one of the answers."""
    for key, phrasings in sections(OWN_PHRASINGS).items():
        for phrasing, answer in zip(phrasings, cycle(OWN[key])):
            yield WrittenExchange(phrasing, answer)


def given_conversations() -> list[Turns]:
    """Read the conversations whose exchanges are given."""
    return [
        turns
        for id_, turns in conversations()
        if not is_measured(id_) and not file_of(id_).startswith((*REMEMBERING, *RICH))
    ]


def common_stems(talks: list[Turns]) -> frozenset[int]:
    """Return the words that stand in replies to everything."""
    counts = Counter(
        stem for turns in talks for turn in turns[1::2] for stem in set(stems_of(turn.text))
    )
    return frozenset(stem for stem, count in counts.items() if count >= COMMON_IN)


TALKS = given_conversations()
COMMON = common_stems(TALKS)


def every_exchange() -> list[WrittenExchange]:
    """Make the exchanges."""
    return [*chain.from_iterable(map(exchanges_of, TALKS)), *own_exchanges()]


def history_of(heard: list[str], said: list[str], bot: Bot) -> History:
    """Return what was said before a reply to the last of some messages."""
    own = [tuple(bot.tokenizer.encode(text)) for text in reversed(said)]
    return History(heard[::-1], own, heard[-1], True)


def traits_of_judged(written: Written, bot: Bot) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the traits of judged replies, whether each makes sense, and where it was given."""
    decoder, tokenizer = bot.decoder, bot.tokenizer
    traits, senses, places = [], [], []
    with JUDGED.open(encoding="utf-8") as lines:
        every = [json.loads(line) for line in lines]
    for begin in range(0, len(every), PLACES_AT_ONCE):
        some = every[begin : begin + PLACES_AT_ONCE]
        rows = []
        for one in some:
            messages = []
            for n, text in enumerate(one["heard"]):
                messages.append(np.array([ROLES["user"], *tokenizer.encode(text), END]))
                messages += [as_message(tokenizer.encode(text)) for text in one["said"][n : n + 1]]
            rows.append(messages)
        state = decoder.read(rows, decoder.initial_state(len(rows)))
        histories = [history_of(one["heard"], one["said"], bot) for one in some]
        nears = written.nears(tokenizer, histories)
        judged = written.judged(decoder, tokenizer, state, histories, nears, PEOPLE)
        for place, (one, own) in enumerate(zip(some, judged, strict=True), begin):
            for each in own:
                if each.reply in one["replies"]:
                    traits.append(each.traits)
                    senses.append(each.reply in one["good"])
                    places.append(place)
    return np.array(traits), np.array(senses), np.array(places)


def learn_regression(traits: np.ndarray, senses: np.ndarray) -> Regression:
    """Learn how probably replies make sense, by logistic regression."""
    mean, spread = traits.mean(0), traits.std(0).clip(1e-6)
    given, wanted = torch.from_numpy((traits - mean) / spread), torch.from_numpy(senses).double()
    weights = torch.zeros(len(mean) + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = given @ weights[:-1] + weights[-1]
        found = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    *scaled, bias = weights.detach().numpy()
    found = np.array(scaled) / spread
    return Regression(weights=found.tolist(), bias=float(bias - mean @ found))


def first_is_right(traits: np.ndarray, senses: np.ndarray, places: np.ndarray) -> float:
    """Return in what share of places the reply that is ranked first makes sense, where the ranking
    was learned from the others.
    """
    found = []
    for fold in range(5):
        held = places % 5 == fold
        scores = learn_regression(traits[~held], senses[~held])(traits)
        for place in np.unique(places[held]):
            there = np.flatnonzero(places == place)
            found.append(senses[there[scores[there].argmax()]])
    return float(np.mean(found))


def unranked() -> RankingFacts:
    """Return facts by which nothing is ranked yet."""
    by_words, by_all = (
        Regression(weights=[0.0] * size, bias=0.0)
        for size in (len(WORD_TRAITS), len(WORD_TRAITS) + len(NET_TRAITS))
    )
    return RankingFacts(
        written=WRITTEN_FORMAT,
        by_words=by_words,
        by_all=by_all,
        bound=BOUND,
        question_bound=QUESTION_BOUND,
        told=UNRANKED,
        **listening(),
    )


def write(bot: Bot) -> None:
    """Write the exchanges into a bot's folder."""
    arrays = WrittenArrays.of(every_exchange(), COMMON_IN, np.zeros(ASKING_BUCKETS))
    exchanges = Exchanges(arrays)
    asking, told = learn_told(exchanges)
    traits, senses, places = traits_of_judged(Written(exchanges, unranked(), Match.read(bot)), bot)
    by_words = traits[:, : len(WORD_TRAITS)]
    names = (*WORD_TRAITS, *NET_TRAITS)
    learned: dict[str, Regression] = {}
    for name, own in (("by_words", by_words), ("by_all", traits)):
        found = learned[name] = learn_regression(own, senses)
        weights = np.round(found.weights * own.std(0), 2).tolist()
        right = first_is_right(own, senses, places)
        print(f"{name}: the first reply makes sense in {right:.1%} of {len(np.unique(places))}")
        print(dict(zip(names, weights, strict=False)), flush=True)
    exchanges.arrays = arrays._replace(asking=asking.weights)
    facts = unranked().model_copy(update={**learned, "told": told})
    Written(exchanges, facts).save(bot.path)
    print(f"{bot.path / WRITTEN}: {(bot.path / WRITTEN).stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bot", type=Path, required=True)
    write(load_bot(parser.parse_args().bot))


if __name__ == "__main__":
    main()
