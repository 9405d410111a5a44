"""Make the exchanges that come with the base, and learn which written reply makes sense.

    python recipes/written.py --bot FOLDER --mixture DIR                 # half an hour
    python recipes/written.py --bot FOLDER --mixture DIR --keep-told

With --keep-told what users told is ranked as FOLDER does it already, which the base that comes with
Elman does: learned anew, without the words of its own examples, it was right less often (LOG.md).
DIR holds what mixture.py wrote, from which what words mean is counted (vectors.py).
The exchanges are the conversations of talk/, and the ways of phrasings/ in which users ask what
Elman knows of itself, with an answer. What a user may have told is looked up in the chat, and
told.py learns how. judged.jsonl holds replies to scripts that were written for it, and which
of them make sense, as readers (a language model) judged them: talk/README.md tells how.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import chain, cycle
from pathlib import Path

import numpy as np
import torch
from smalltalk import FAMILY, HOME, JOB, MACHINE, MADE, NAME
from talk import conversations, file_of, is_measured
from taught import Turns
from told import REMEMBERING, UNRANKED, learn_told
from vectors import word_vectors

from elman import load_bot
from elman.data.tokenizer import END, ROLES
from elman.generate.bot import Bot
from elman.generate.exchanges import CANDIDATES, Exchanges
from elman.generate.likelihood import as_message
from elman.generate.listening import Listening
from elman.generate.match import Match
from elman.generate.penalties import PEOPLE, History
from elman.generate.stems import stems_of
from elman.generate.told import ASKING_BUCKETS, ASKS_FOR_TOLD, ToldRanking
from elman.generate.written import WRITTEN, Written
from elman.generate.written_arrays import WrittenArrays, WrittenExchange
from elman.generate.written_facts import (
    NET_TRAITS,
    WORD_TRAITS,
    WRITTEN_FORMAT,
    RankingFacts,
    Regression,
)
from elman.model.array_files import read_arrays

FOLDER = Path(__file__).parent

OWN_PHRASINGS = FOLDER / "phrasings" / "own.txt"
"""Sections of a line `# KEY` and ways to ask for what `OWN` says, one a line."""

LISTENING = FOLDER / "phrasings" / "listening.txt"
"""What makes sense after nearly any statement (whole, or made of an opening and an invitation), to
nearly any question (alone, or with a question in return), and where the user asks for what was not
told. Of 1,386 that were written these are those that readers found to make sense in nine of ten
places, of the answers to questions in seven of eight; jokes about these were taken out by hand.
"""

JUDGED = FOLDER / "judged.jsonl"

RICH = ("elman", "hobbies", "home", "people", "places", "short", "work")
"""The first files that were written. Their replies fit in their own conversations: of those that
were found for other places, readers found one of seven to make sense, and of later files' one of
three.
"""

COMMON_IN = 400
"""Replies in which a word must stand to fit anywhere."""

JUDGED_TALK = ("chat-online", "chat-feelings", "long-reactions")
"""Files whose messages stand in `JUDGED`. What is learned from that is learned without them: nobody
else's message will have an answer of its own.
"""

PLACES_AT_ONCE = 32

BOUND, QUESTION_BOUND = 0.6, 0.42
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


def own_exchanges() -> Iterator[WrittenExchange]:
    """Take the ways to ask what Elman knows of itself, each with one of the answers."""
    for key, phrasings in sections(OWN_PHRASINGS).items():
        for phrasing, answer in zip(phrasings, cycle(OWN[key])):
            yield WrittenExchange(phrasing, answer)


def given_conversations() -> Iterator[tuple[str, Turns]]:
    """Read the conversations whose exchanges are given, each with its file."""
    for id_, turns in conversations():
        name = file_of(id_)
        if not is_measured(id_) and not name.startswith((*REMEMBERING, *RICH)):
            yield name, turns


def common_stems(talks: list[Turns]) -> frozenset[int]:
    """Return the words that stand in replies to everything."""
    counts = Counter(
        stem for turns in talks for turn in turns[1::2] for stem in set(stems_of(turn.text))
    )
    return frozenset(stem for stem, count in counts.items() if count >= COMMON_IN)


TALKS = list(given_conversations())
COMMON = common_stems([turns for _, turns in TALKS])


def every_exchange(without: Collection[str] = ()) -> list[WrittenExchange]:
    """Make the exchanges, but for those of some files."""
    given = (turns for name, turns in TALKS if name not in without)
    return [*chain.from_iterable(map(exchanges_of, given)), *own_exchanges()]


def history_of(heard: list[str], said: list[str], bot: Bot) -> History:
    """Return what was said before a reply to the last of some messages."""
    own = [tuple(bot.tokenizer.encode(text)) for text in reversed(said)]
    return History(heard[::-1], own, heard[-1], True)


def traits_of_judged(
    written: Written, bot: Bot, by_net: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the traits of judged replies, whether each makes sense, and where it was given.

    Args:
        written: finds the replies and tells the traits.
        bot: whose net it is.
        by_net: whether the net tells its own, too.
    """
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
        judged = written.judge(decoder, tokenizer, state, histories, nears, PEOPLE, by_net)
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
    lines = sections(LISTENING)
    untold = lines.pop("untold")
    return RankingFacts(
        written=WRITTEN_FORMAT,
        by_words=by_words,
        by_all=by_all,
        bound=BOUND,
        question_bound=QUESTION_BOUND,
        told=UNRANKED,
        listening=Listening(**lines),
        untold=untold,
    )


def write(bot: Bot, mixture: Path, keep_told: bool = False) -> None:
    """Write the exchanges into a bot's folder; what words mean is counted in the mixture's.

    Args:
        bot: whose.
        mixture: where that is.
        keep_told: whether what was told is ranked as before.
    """
    vectors, nothing = word_vectors(mixture), np.zeros(ASKING_BUCKETS)
    exchanges, others = (
        Exchanges(WrittenArrays.of(every_exchange(without), COMMON_IN, nothing, vectors))
        for without in ((), JUDGED_TALK)
    )
    if keep_told:
        before, ranked = read_arrays(bot.path / WRITTEN)
        asking, told = before["asking"], ToldRanking.model_validate(ranked["told"])
    else:
        learned, told = learn_told(exchanges)
        asking = learned.weights
    facts, names = unranked(), (*WORD_TRAITS, *NET_TRAITS)
    # What the net is asked about is chosen by the words, so that these are learned first.
    for name in ("by_words", "by_all"):
        written = Written(others, facts, Match.read(bot))
        if name == "by_words":
            written.judge.most = CANDIDATES
        traits, senses, places = traits_of_judged(written, bot, name == "by_all")
        found = learn_regression(traits, senses)
        facts = facts.model_copy(update={name: found})
        weights = np.round(found.weights * traits.std(0), 2).tolist()
        right = first_is_right(traits, senses, places)
        print(f"{name}: the first reply makes sense in {right:.1%} of {len(np.unique(places))}")
        print(dict(zip(names, weights, strict=False)), flush=True)
    exchanges.arrays = exchanges.arrays._replace(asking=asking)
    Written(exchanges, facts.model_copy(update={"told": told})).save(bot.path)
    print(f"{bot.path / WRITTEN}: {(bot.path / WRITTEN).stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bot", type=Path, required=True)
    parser.add_argument("--mixture", type=Path, required=True, help="what mixture.py wrote")
    parser.add_argument("--keep-told", action="store_true", help="rank what was told as before")
    arguments = parser.parse_args()
    write(load_bot(arguments.bot), arguments.mixture, arguments.keep_told)


if __name__ == "__main__":
    main()
