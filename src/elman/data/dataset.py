"""The conversations of a source as somebody chose to see them: the same ones in every pass."""

import gc
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Self

from elman.data.conversation import SYSTEM, Conversation, Message, Others
from elman.data.corpus import Corpus, encode_parts
from elman.data.document import Document, Notes
from elman.data.overlap import SHINGLE, SHINGLE_OF_BYTES, near_duplicates, without
from elman.data.readers import Reading, choose_gap, read
from elman.data.source import BUILT_IN, documents
from elman.data.split import Part, Split, Survey
from elman.data.tokenizer import SMALLEST, Tokenizer
from elman.errors import ElmanError

MOST_KNOWN = 50

VIEW = ("others", "gap", "split", "drop", "redact", "rename", "max_text_bytes")
"""Of what a configuration says of its data, how the conversations are seen."""

KEPT = 1 << 25
"""Bytes of text up to which conversations that are to be kept are."""

Change = Callable[[Message], Message]


class Dataset:
    """Conversations, surveyed once and read anew in each pass: they never lie in memory at once,
    but where they are few and are to be kept.

    Args:
        path: a file, a folder, an archive, `-` or `chitchat`: see `documents`.
        encoding: of the files.
        bot: whose part is learned; conversations without it are left out. None: all are peers.
        others: how the bot sees the other people; None: by name where there are several.
        gap: seconds without a message after which a chat begins anew; None: chosen from the data.
        drop: people whose messages are left out.
        redact: put placeholders in the place of what is private.
        rename: give people pseudonyms, of whom `bot` is told by either name.
        lenient: let `drop` name people who are not there, as in data that came later.
        watch: shown every message during the survey, and not again.
        keep: hold them in memory after the survey, where they are no more than `KEPT` bytes.
        max_text_bytes: of text to learn from, of more the newest (`Survey.most`); None: all.
        split: what decides what is held out; of the built-in conversations, "auto" is "id", so that
            figures that were reported for them stay comparable.

    Raises:
        ElmanError: where nothing can be read, or nobody has one of the names.
    """

    def __init__(
        self,
        path: str,
        encoding: str = "utf-8",
        *,
        bot: str | None = None,
        others: Others | None = None,
        gap: float | None = None,
        drop: Sequence[str] = (),
        redact: bool = False,
        rename: bool = False,
        split: Split = "auto",
        watch: Change | None = None,
        lenient: bool = False,
        keep: bool = False,
        max_text_bytes: int | None = None,
    ) -> None:
        self.path = path
        self.max_text_bytes = max_text_bytes
        self.notes = Notes()
        self._documents: list[Document] = documents(path, encoding)
        self.pseudonyms: dict[str, str] = {}
        found = None if path == BUILT_IN else choose_gap(self._documents)
        self.gap = found if found is None or gap is None else gap
        self._hides = redact or rename
        self._real = self._count_people(rename or bool(drop) or bot is not None)
        self._drop = frozenset(
            self._called(name, "--drop") for name in drop if not lenient or self._knows(name)
        )
        changes: list[Change] = []
        self.bot = bot
        if rename:
            from elman.data.rename import Pseudonyms

            names = Pseudonyms(self._real)
            changes.append(names.message)
            self.pseudonyms = names.names
        if bot is not None and bot not in self.pseudonyms.values():
            bot = self._called(bot, "--bot")
            if bot in self._drop:
                raise ElmanError(f"--bot {bot!r}: it learns from whom --drop leaves out")
            self.bot = self.pseudonyms.get(bot, bot)
        if redact:
            from elman.data.redact import Redactor

            hidden = Redactor()
            changes.append(hidden.message)
            self.bot = self.bot and hidden.name(self.bot)
        self._reading = self._reads(changes)
        if path == BUILT_IN and split == "auto":
            split = "id"
        self.survey = Survey(split)
        self._kept: list[Conversation] | None = [] if keep else None
        self._gathered: tuple[bool, list[tuple[Part, Conversation]]] | None = None
        self._survey(self._reads([*changes, *([watch] if watch else [])]))
        several = self.survey.largest_group > 2
        self.others: Others = others or ("names" if several and bot is not None else "user")

    @classmethod
    def again(cls, saved: Mapping[str, Any]) -> Self:
        """What a bot learned from, as the table `data` of its configuration has it."""
        given = {name: saved[name] for name in ("encoding", "bot", *VIEW) if name in saved}
        return cls(saved["path"], lenient=True, **given)

    def _reads(self, changes: Sequence[Change]) -> Reading:
        return Reading(self.gap, self._drop, _composed(changes), self._hides)

    def _count_people(self, needed: bool) -> Counter[str]:
        """Messages of everybody, by their real names, also where nobody answered."""
        people: Counter[str] = Counter()
        if needed:

            def count(message: Message) -> Message:
                people[message.author] += 1
                return message

            for _ in read(self._documents, None, Reading(self.gap, change=count)):
                pass
            del people[SYSTEM]
        return people

    @property
    def dropped(self) -> tuple[str, ...]:
        """Who is left out, to be kept in a configuration: as digests, where names are hidden."""
        return tuple(sorted(map(_digest, self._drop) if self._hides else self._drop))

    @property
    def known(self) -> tuple[str, ...]:
        """Whom the bot meets by name, who speaks most with it first; of many, some."""
        if self.others != "names":
            return ()
        ranked = (name for name, _ in self.survey.people.most_common() if name != self.bot)
        return tuple(islice(ranked, MOST_KNOWN))

    def _knows(self, name: str) -> bool:
        return any(name in (real, _digest(real)) for real in self._real)

    def _called(self, name: str, option: str) -> str:
        """The name as the source writes it, where only case, spaces or accents' forms differ.

        Raises:
            ElmanError: where nobody or more than one person is called so; it lists who is there.
        """
        if name in self._real:
            return name
        hidden = [real for real in self._real if name == _digest(real) or _is_redacted(name, real)]
        alike = [real for real in self._real if _folded(real) == _folded(name)]
        if len(found := hidden or alike) == 1:
            return found[0]
        names = [f"{each} ({number:,} messages)" for each, number in self._real.most_common(20)]
        more = f" and {len(self._real) - 20:,} more" if len(self._real) > 20 else ""
        raise ElmanError(
            f"{option} {name!r}: nobody has that name; there are {', '.join(names)}{more}"
        )

    def _survey(self, reading: Reading) -> None:
        """Fills the survey and the notes."""

        def heard(conversations: Iterable[Conversation]) -> Iterator[Conversation]:
            for conversation in conversations:
                if self._is_heard(conversation):
                    yield self._keep(conversation)
                else:
                    self.notes.leave_out(
                        f"{self.bot} says nothing in their conversation",
                        conversation.id,
                        len(conversation.messages),
                    )

        with _uncollected():
            for _ in self.survey.texts(heard(read(self._documents, self.notes, reading))):
                pass
        if not self.survey.conversations:
            raise ElmanError(f"{self.path}: {self.bot} speaks with nobody in it")

    def _keep(self, conversation: Conversation) -> Conversation:
        if self.survey.text_bytes > KEPT:
            self._kept = None
        if self._kept is not None:
            self._kept.append(conversation)
        return conversation

    def _is_heard(self, conversation: Conversation) -> bool:
        return self.bot is None or self.bot in conversation.authors

    def conversations(self) -> Iterator[Conversation]:
        """All of them, in the order of the source."""
        if self._kept is not None:
            return iter(self._kept)
        return filter(self._is_heard, read(self._documents, None, self._reading))

    def parts(self, test: bool = False) -> Iterator[tuple[Part, Conversation]]:
        """Each with the part that it belongs to, of train and dev, and test where one is wanted."""
        if self._gathered is not None and self._gathered[0] == test:
            yield from self._gathered[1]
            return
        learned = self.survey.most(self.max_text_bytes)
        for part, conversation in self.survey.divide(self.conversations(), test):
            if part != "train" or learned(conversation):
                yield part, conversation

    def gather(self, test: bool, held_out: int) -> None:
        """Read the parts once more and hold them in memory, where no more than `KEPT` bytes are
        learned from; of a held-out part, as much as `encode` takes.
        """
        if self._kept is None and self.max_text_bytes is not None and self.max_text_bytes <= KEPT:
            with _uncollected():
                self._gathered = (test, list(_first(self.parts(test), held_out)))

    def texts(self, test: bool = False, most: int | None = None) -> Iterator[str]:
        """What is said in the messages that are learned from.

        Args:
            test: hold out a test part too.
            most: of more bytes than that, every so many-th message; an odd number, so that where
                two people take turns both are heard.
        """
        size = min(self.survey.text_bytes, self.max_text_bytes or self.survey.text_bytes)
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
        """The parts as the bot sees them, and how many held-out conversations were left out because
        nearly the same is learned from.

        A part of which nothing would remain stays as it is.

        Args:
            tokenizer: what they are encoded with.
            test: hold out a test part too.
            held_out: bytes of text after which no more of a held-out part is encoded; None: all is.
        """
        wanted = self.parts(test) if held_out is None else _first(self.parts(test), held_out)
        with _uncollected():
            parts = encode_parts(wanted, tokenizer, self.bot, self.others)
        repeated = 0
        width = SHINGLE if tokenizer.vocabulary_size > SMALLEST else SHINGLE_OF_BYTES
        for part in ("dev", "test"):
            if part in parts and "train" in parts:
                near = near_duplicates(parts["train"], parts[part], width)
                if not near.all():
                    repeated += int(near.sum())
                    parts[part] = without(parts[part], near)
        return parts, repeated


def _first(
    parts: Iterable[tuple[Part, Conversation]], held_out: int
) -> Iterator[tuple[Part, Conversation]]:
    """Without what of a held-out part comes after so many bytes of text."""
    sizes: Counter[Part] = Counter()
    for part, conversation in parts:
        if part == "train" or sizes[part] < held_out:
            yield part, conversation
            sizes[part] += sum(len(message.text.encode()) for message in conversation.messages)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for cycles: messages are many and hold none, and it takes a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _composed(
    changes: Sequence[Callable[[Message], Message]],
) -> Callable[[Message], Message] | None:
    if not changes:
        return None

    def change(message: Message) -> Message:
        for each in changes:
            message = each(message)
        return message

    return change


def _folded(name: str) -> str:
    """A name without what people do not see in it, or do not mind."""
    return unicodedata.normalize("NFC", name).replace("\ufe0f", "").strip().casefold()


def _digest(name: str) -> str:
    return "#" + hashlib.sha256(name.encode(errors="replace")).hexdigest()[:12]


def _is_redacted(name: str, real: str) -> bool:
    """Whether a name is what redacting makes of a real one, as a bot's configuration has it."""
    if not name.startswith("["):
        return False
    from elman.data.redact import Redactor

    return Redactor().name(real) == name
