"""New talk to learn from: gathered, filtered, and some of it held out."""

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np

from elman.data.conversation import Turn
from elman.data.corpus import Corpus, is_scored
from elman.data.dataset import Dataset
from elman.data.overlap import SHINGLE_BYTES, SHINGLE_TOKENS, near_duplicates
from elman.data.redact.redactor import Redactor
from elman.data.tokenizer import MIN_VOCABULARY_SIZE, SPECIALS, Tokenizer
from elman.errors import ElmanError
from elman.generate.likelihood import as_message
from elman.model.replay import NOTHING, Replay, TalkSource

MIN_TURNS = 10
"""That can be learned from, for an update."""

MIN_TALKS = 8
"""Conversations or exchanges of an update: some are held out, and what they show is doubtful."""

HELD_OUT_SHARE, MIN_HELD_OUT_TALKS = 0.2, 4
"""Of the new talk, what is held out for the gate."""

MAX_SAME_ANSWERS = 3
"""Exchanges with one and the same answer."""

MAX_PERSON_SHARE = 0.5
"""Of the learned turns, where there are several people."""

MIN_PACKED_SHARE, MIN_PACKED_BYTES = 0.1, 500
"""What text shrinks to at least when it is packed (people's: 0.3 and more), and from which size on
that is looked at."""


@dataclass(frozen=True)
class Exchange:
    """A message, and the answer that somebody approved or gave instead."""

    person: str
    asked: str
    answer: str


@dataclass(frozen=True)
class Lesson:
    """Something to learn from: a conversation, or an exchange.

    Args:
        source: who talked with the bot, and where.
        ids: its tokens as the bot reads them.
        turns: how many of its messages are learned.
        said: what the bot says in it.
    """

    source: TalkSource
    ids: np.ndarray
    turns: int
    said: tuple[str, ...]
    is_exchange: bool = False

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.ids.tobytes()).hexdigest()


@dataclass(frozen=True)
class Lessons:
    """New talk after all filters.

    Args:
        learned, held_out: its conversations.
        sources, held_out_sources: where each of them comes from.
        turns: that are learned.
        left_out: how many talks were left out, by why.
        people: turns of each person in what is learned.
    """

    learned: Corpus
    held_out: Corpus
    sources: tuple[TalkSource, ...]
    held_out_sources: tuple[TalkSource, ...]
    turns: int
    left_out: dict[str, int]
    people: dict[str, int]

    @property
    def talk(self) -> Replay:
        """What is kept of them for later updates."""
        return Replay(
            later=self.learned,
            later_held_out=self.held_out,
            sources=self.sources,
            held_out_sources=self.held_out_sources,
        )


def talks_of(
    tokenizer: Tokenizer,
    learn_from: str,
    exchanges: Sequence[Exchange] = (),
    dataset: Dataset | None = None,
    redact: bool = False,
) -> Iterator[Lesson]:
    """Encode exchanges and conversations as a bot reads them."""
    redactor = Redactor() if redact else None
    for each in exchanges:
        texts = each.asked, each.answer
        if redactor is not None:
            texts = redactor.redact(each.asked), redactor.redact(each.answer)
        turns = [Turn("user", texts[0]), Turn("bot", texts[1])]
        yield _talk(TalkSource(each.person, ""), turns, tokenizer, learn_from, is_exchange=True)
    if dataset is None:
        return
    for conversation in dataset.conversations():
        turns = conversation.turns(dataset.bot, dataset.others)
        bot = dataset.bot or (conversation.authors[1:2] or ("",))[0]
        others = Counter(author for author, _ in conversation.runs() if author != bot)
        person = others.most_common(1)[0][0] if others else ""
        yield _talk(TalkSource(person, conversation.id), turns, tokenizer, learn_from)


def _talk(
    source: TalkSource,
    turns: Sequence[Turn],
    tokenizer: Tokenizer,
    learn_from: str,
    is_exchange: bool = False,
) -> Lesson:
    texts = tokenizer.encode_batch([turn.text for turn in turns])
    messages = [as_message(tokens, turn.role) for turn, tokens in zip(turns, texts, strict=True)]
    learned = sum(is_scored(message, learn_from) for message in messages)
    said = tuple(turn.text for turn in turns if turn.role == "bot")
    ids = np.concatenate([*messages, np.zeros(0, np.int64)]).astype(np.uint16)
    return Lesson(source, ids, learned, said, is_exchange)


def lessons(
    talks: Iterable[Lesson],
    tokenizer: Tokenizer,
    *,
    learned_before: Corpus = NOTHING,
    held_out_before: Corpus = NOTHING,
    own_words: Set[str] = frozenset(),
) -> Lessons:
    """Leave out what is not to be learned, and hold some out.

    Left out are: what was learned or held out before, repetition, what the bot itself had said, and
    one person's talk beyond their share.

    Args:
        talks: as `talks_of` makes them.
        tokenizer: the bot's.
        learned_before, held_out_before: by training and earlier updates.
        own_words: what the bot has said in chats that are kept, word for word.

    Raises:
        ElmanError: where too little is left.
    """
    left_out: Counter[str] = Counter()
    given = list(talks)
    kept = list(_new(given, learned_before, held_out_before, own_words, tokenizer, left_out))
    kept = list(_within_shares(kept, left_out))
    turns = sum(talk.turns for talk in kept)
    if turns < MIN_TURNS or len(kept) < MIN_TALKS:
        why = "".join(f"; {count:,} left out: {reason}" for reason, count in left_out.items())
        raise ElmanError(
            f"{turns:,} turns in {len(kept):,} conversations or corrections to learn from{why}: an "
            f"update needs {MIN_TURNS} turns in {MIN_TALKS} of them"
        )
    kept.sort(key=lambda talk: talk.digest)
    count = max(MIN_HELD_OUT_TALKS, round(HELD_OUT_SHARE * len(kept)))
    held_out, learned = kept[:count], kept[count:]
    people: Counter[str] = Counter()
    for talk in learned:
        people[talk.source.person] += talk.turns
    return Lessons(
        _corpus(learned),
        _corpus(held_out),
        tuple(talk.source for talk in learned),
        tuple(talk.source for talk in held_out),
        sum(talk.turns for talk in learned),
        dict(left_out),
        dict(people),
    )


def _new(
    talks: Sequence[Lesson],
    learned_before: Corpus,
    held_out_before: Corpus,
    own_words: Set[str],
    tokenizer: Tokenizer,
    left_out: Counter[str],
) -> Iterator[Lesson]:
    width = SHINGLE_TOKENS if tokenizer.vocabulary_size > MIN_VOCABULARY_SIZE else SHINGLE_BYTES
    near = near_duplicates(held_out_before, _corpus(talks), width)
    seen = {
        hashlib.sha256(corpus[index].tobytes()).hexdigest()
        for corpus in (learned_before, held_out_before)
        for index in range(len(corpus))
    }
    answers: Counter[str] = Counter()
    now: set[str] = set()
    for talk, is_near in zip(talks, near.tolist(), strict=True):
        if talk.digest in seen:
            why = "learned or held out before"
        elif is_near:
            why = "nearly the same as what is held out"
        elif talk.digest in now:
            why = "said more than once"
        elif talk.turns == 0:
            why = "nothing that the bot learns to say"
        elif repeats_itself(tokenizer.decode_bytes(talk.ids[talk.ids >= SPECIALS])):
            why = "the same over and over"
        elif not talk.is_exchange and not own_words.isdisjoint(talk.said):
            why = "the bot's own words, which nobody approved"
        elif talk.is_exchange and answers[talk.said[0]] >= MAX_SAME_ANSWERS:
            why = f"an answer that was given {MAX_SAME_ANSWERS} times already"
        else:
            now.add(talk.digest)
            answers.update(talk.said if talk.is_exchange else ())
            yield talk
            continue
        left_out[why] += 1


def _within_shares(talks: Sequence[Lesson], left_out: Counter[str]) -> Iterator[Lesson]:
    """Leave out talk of whoever has more than their share; alone, somebody may have all."""
    turns: Counter[str] = Counter()
    for talk in talks:
        turns[talk.source.person] += talk.turns
    most, own = turns.most_common(1)[0] if turns else ("", 0)
    others = sum(turns.values()) - own
    limit = others * MAX_PERSON_SHARE / (1 - MAX_PERSON_SHARE) if others else own
    taken = 0
    for talk in sorted(talks, key=lambda talk: talk.digest):
        if talk.source.person == most and taken + talk.turns > limit:
            left_out["beyond one person's share"] += 1
            continue
        taken += talk.turns if talk.source.person == most else 0
        yield talk


def repeats_itself(text: bytes) -> bool:
    """Tell whether a text is little more than a repetition of a part of it."""
    return len(text) >= MIN_PACKED_BYTES and len(zlib.compress(text)) < MIN_PACKED_SHARE * len(text)


def _corpus(talks: Sequence[Lesson]) -> Corpus:
    return Corpus.of(talk.ids for talk in talks)
