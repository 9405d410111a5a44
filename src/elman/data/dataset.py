"""The conversations of a source as somebody chose to see them: the same ones in every pass."""

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from typing import Any, Self

from elman.data.canaries import Canary, can_carry, planting
from elman.data.conversation import Conversation, Others
from elman.data.corpus import Corpus, encode_parts
from elman.data.forgotten import forgotten_digest, remembered
from elman.data.notes import Notes
from elman.data.overlap import SHINGLE_BYTES, SHINGLE_TOKENS, near_duplicates, without
from elman.data.people import People, dropped, known
from elman.data.readers import FirstReading, Reading, first_reading, read
from elman.data.source import BUILT_IN, Source
from elman.data.split import Part, Survey
from elman.data.tokenizer import MIN_VOCABULARY_SIZE, Tokenizer
from elman.data.view import OLD_VIEW_NAMES, Change, View, composed
from elman.errors import ElmanError

MAX_KEPT_TEXT_BYTES = 1 << 25
"""Conversations that are to be kept in memory are, up to so much text."""

MAX_HELD_CHARS = 1 << 24
"""What the first reading finds is held for the survey, up to so much text."""

Labelled = tuple[Part, Conversation]


@dataclass(frozen=True)
class Dataset:
    """Conversations that were surveyed once, and are read anew in each pass.

    So they never lie in memory at once, but where they are few and are to be kept.

    Args:
        source: where they are.
        view: how they are seen, with everything filled in that is chosen from the data. `bot` is
            the name that the conversations have, `drop` are the names that the source has.
        survey: what one pass over them found.
        notes: what was left out or changed, and why.
        pseudonyms: everybody's by their real name, where people are renamed.
    """

    source: Source
    view: View
    survey: Survey
    notes: Notes
    pseudonyms: Mapping[str, str]
    _reading: Reading
    _kept: list[Conversation] | None = field(repr=False)
    _gathered: tuple[bool, list[Labelled]] | None = field(default=None, repr=False)

    @classmethod
    def read(
        cls,
        path: str,
        encoding: str = "utf-8",
        *,
        watch: Change | None = None,
        lenient: bool = False,
        keep: bool = False,
        **view: Any,
    ) -> Self:
        """Survey a source.

        Small sources are read once for everything. Of large ones the names and the gap between
        conversations are found first, where the view needs them.

        Args:
            path: a file, a folder, an archive, `-` or `chitchat`: see `documents`.
            encoding: of the files.
            watch: shown every message during the survey, and not again.
            lenient: let `drop` name people who are not there, as in data that came later.
            keep: hold the conversations in memory, up to `MAX_KEPT_TEXT_BYTES`.
            view: the options of a `View`.

        Raises:
            ElmanError: where nothing can be read, or nobody has one of the names.
        """
        source, asked = Source.open(path, encoding), View.of(view)
        if path == BUILT_IN and asked.split == "auto":
            asked = replace(asked, split="id")
        with _uncollected():
            first = first_reading(source.documents, asked.names_people, MAX_HELD_CHARS)
            seen, reading, pseudonyms = settle(asked, first, lenient)
            shown = [each for each in (reading.change, watch) if each is not None]
            watched = replace(reading, change=composed(shown))
            notes = Notes() if first.items is None else first.notes
            found = read(source.documents, notes, watched, first.items)
            kept: list[Conversation] | None = [] if keep else None
            survey = Survey(asked.split)
            for conversation in survey.watch(with_bot(found, seen.bot, notes)):
                if survey.text_bytes > MAX_KEPT_TEXT_BYTES:
                    kept = None
                if kept is not None:
                    kept.append(conversation)
        if not survey.conversations:
            raise ElmanError(f"{path}: {seen.bot} speaks with nobody in it")
        settled = replace(seen, gap=reading.gap, others=others_seen(seen, survey))
        return cls(source, settled, survey, notes, pseudonyms, reading, kept)

    @classmethod
    def again(cls, saved: Mapping[str, Any]) -> Self:
        """Read what a bot learned from, as the table `data` of its configuration has it."""
        names = ("encoding", *(each.name for each in fields(View)), *OLD_VIEW_NAMES)
        given = {name: saved[name] for name in names if name in saved}
        return cls.read(saved["path"], lenient=True, **given)

    @property
    def path(self) -> str:
        return self.source.path

    @property
    def bot(self) -> str | None:
        return self.view.bot

    @property
    def gap(self) -> float | None:
        """Seconds of silence at which chats were cut; None: there are no chats."""
        return self.view.gap

    @property
    def others(self) -> Others:
        return self.view.others or "user"

    @property
    def dropped(self) -> tuple[str, ...]:
        """Who is left out, as a configuration keeps it."""
        return dropped(self.view.drop, self.view.hides_names)

    @property
    def known(self) -> tuple[str, ...]:
        """Whom the bot meets by name."""
        if self.others != "names":
            return ()
        met = {
            name: count
            for name, count in self.survey.people.items()
            if forgotten_digest("person", name) not in self.view.forgotten
        }
        return known(Counter(met), self.bot)

    def conversations(self) -> Iterator[Conversation]:
        """Yield all of them, in the order of the source."""
        forgotten = frozenset(self.view.forgotten)
        left = (remembered(each, forgotten) for each in self._every())
        return (each for each in left if each is not None)

    def _every(self) -> Iterator[Conversation]:
        """Yield those that are forgotten, too: only so are the others divided as before."""
        if self._kept is not None:
            return iter(self._kept)
        return with_bot(read(self.source.documents, None, self._reading), self.bot)

    def parts(self, test: bool = False) -> Iterator[Labelled]:
        """Yield each with the part that it belongs to: train, dev, or test where one is wanted.

        Canaries are planted in some of train.
        """
        return ((part, each) for part, each, _ in self.with_canaries(test))

    def with_canaries(
        self, test: bool = False
    ) -> Iterator[tuple[Part, Conversation, Canary | None]]:
        """Yield what `parts` yields, and the canary that a conversation carries.

        What is forgotten goes last: the rest is divided, and carries canaries, as it did before.
        """
        forgotten = frozenset(self.view.forgotten)
        for part, conversation, canary in self._with_every_canary(test):
            left = remembered(conversation, forgotten)
            if left is not None:
                stays = canary is not None and canary.stands_in(left)
                yield part, left, canary if stays else None

    def _with_every_canary(self, test: bool) -> Iterator[tuple[Part, Conversation, Canary | None]]:
        view, carriers = self.view, 0
        if view.canaries:
            train = (each for part, each in self._unplanted(test) if part == "train")
            carriers = sum(can_carry(each, view.bot) for each in train)
        planted = planting(carriers, view.canaries, view.canary_seed, view.bot)
        for part, each in self._unplanted(test):
            yield (part, *planted(each)) if part == "train" else (part, each, None)

    def _unplanted(self, test: bool) -> Iterator[Labelled]:
        if self._gathered is not None and self._gathered[0] == test:
            yield from self._gathered[1]
            return
        learned = self.survey.most(self.view.max_text_bytes)
        for part, conversation in self.survey.divide(self._every(), test):
            if part != "train" or learned(conversation):
                yield part, conversation

    def limited(self, max_text_bytes: int | None) -> "Dataset":
        """Return this data with a limit on the text to learn from."""
        return replace(self, view=replace(self.view, max_text_bytes=max_text_bytes))

    def gathered(self, test: bool, held_out: int) -> "Dataset":
        """Return this data with its parts read once more and held in memory.

        That is done where the limit on text to learn from allows it. Of a held-out part, as much is
        held as `encode` takes.
        """
        limit = self.view.max_text_bytes
        if self._kept is not None or limit is None or limit > MAX_KEPT_TEXT_BYTES:
            return self
        with _uncollected():
            return replace(self, _gathered=(test, list(_first(self._unplanted(test), held_out))))

    def texts(self, test: bool = False, most: int | None = None) -> Iterator[str]:
        """Yield what is said in the messages that are learned from.

        Args:
            test: hold out a test part too.
            most: of more bytes than that, every so many-th message; an odd number, so that where
                two people take turns both are heard.
        """
        size = min(self.survey.text_bytes, self.view.max_text_bytes or self.survey.text_bytes)
        every = 1 if most is None else size // most | 1
        learned = (
            turn.text
            for part, each in self.parts(test)
            if part == "train"
            for turn in each.turns(self.bot, self.others)
        )
        return islice(learned, 0, None, every)

    def encode(
        self, tokenizer: Tokenizer, test: bool = False, held_out: int | None = None
    ) -> tuple[dict[str, Corpus], int]:
        """Encode the parts as the bot sees them.

        Held-out conversations are left out where nearly the same is learned from; a part of which
        nothing would remain stays as it is.

        Args:
            tokenizer: what they are encoded with.
            test: hold out a test part too.
            held_out: bytes of text after which no more of a held-out part is encoded; None: all is.

        Returns:
            The parts by name, and how many held-out conversations were left out.
        """
        wanted = self.parts(test) if held_out is None else _first(self.parts(test), held_out)
        with _uncollected():
            parts = encode_parts(wanted, tokenizer, self.bot, self.others)
        repeated = 0
        width = SHINGLE_TOKENS if tokenizer.vocabulary_size > MIN_VOCABULARY_SIZE else SHINGLE_BYTES
        for part in ("dev", "test"):
            if part in parts and "train" in parts:
                near = near_duplicates(parts["train"], parts[part], width)
                if not near.all():
                    repeated += int(near.sum())
                    parts[part] = without(parts[part], near)
        return parts, repeated


def settle(
    asked: View, first: FirstReading, lenient: bool = False
) -> tuple[View, Reading, dict[str, str]]:
    """Choose what a first reading decides of a view, and how conversations are read for it.

    Returns:
        The view with people named as its conversations name them, the reading, and pseudonyms.

    Raises:
        ElmanError: where nobody has one of the names.
    """
    people = People(first.people)
    changes, pseudonyms = asked.changes(people)
    seen = asked.match(people, pseudonyms, lenient)
    gap = first.gap if asked.gap is None or first.gap is None else asked.gap
    reading = Reading(gap, frozenset(seen.drop), composed(changes), asked.hides_names)
    return seen, reading, pseudonyms


def others_seen(view: View, survey: Survey) -> Others:
    """Choose how the bot sees the others: by name where there are several."""
    several = survey.largest_group > 2 and view.bot is not None
    return view.others or ("names" if several else "user")


def with_bot(
    conversations: Iterable[Conversation], bot: str | None, notes: Notes | None = None
) -> Iterator[Conversation]:
    """Leave out and count the conversations in which the bot says nothing."""
    for conversation in conversations:
        if bot is None or bot in conversation.authors:
            yield conversation
        elif notes is not None:
            notes.leave_out(
                f"{bot} says nothing in their conversation",
                conversation.id,
                len(conversation.messages),
            )


def _first(parts: Iterable[Labelled], held_out: int) -> Iterator[Labelled]:
    """Leave out what of a held-out part comes after so many bytes of text."""
    sizes: Counter[Part] = Counter()
    for part, conversation in parts:
        if part == "train" or sizes[part] < held_out:
            yield part, conversation
            sizes[part] += sum(len(message.text.encode()) for message in conversation.messages)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Search for no cycles: messages are many and hold none, and it takes a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
