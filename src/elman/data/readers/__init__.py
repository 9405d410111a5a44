"""From files to conversations: whatever the format, tidied, cut, and with an answer in each."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from elman.data.conversation import SYSTEM, Chat, Conversation, Message
from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.registry import groups, what_is_missing
from elman.data.segmentation import DEFAULT_GAP_SECONDS, MAX_GAPS_OF_CHAT, Gaps, cut
from elman.errors import ElmanError

MAX_MESSAGE_CHARS = 20_000
"""Characters. What is longer is a pasted file rather than something said."""

_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Reading:
    """How conversations are read.

    Args:
        gap: seconds without a message after which a chat begins anew; None: chosen from the data.
        drop: people whose messages are left out.
        change: what is done to every message, such as to hide what is private in it.
        hide_ids: give conversations a digest for an id: those of exports hold names.
    """

    gap: float | None = None
    drop: frozenset[str] = frozenset()
    change: Callable[[Message], Message] | None = None
    hide_ids: bool = False


Items = Iterable[tuple[str, Conversation | Chat]]
"""What readers yield, each with the name of where it comes from."""


@dataclass(frozen=True)
class FirstReading:
    """What one reading finds in a source, before anything is chosen.

    Args:
        gaps: how long people waited in its chats; None: it has no chats.
        people: messages of everybody by name, also where nobody answered; empty: not counted.
        notes: what the readers left out.
        items: all that was read, to be gone through again; None: not all was, or it was too much.
    """

    gaps: Gaps | None
    people: Counter[str]
    notes: Notes
    items: Items | None

    @cached_property
    def gap(self) -> float | None:
        """Seconds of silence at which its chats are best cut; None: it has no chats."""
        return None if self.gaps is None else self.gaps.choose()


def read(
    documents: Iterable[Document],
    notes: Notes | None = None,
    reading: Reading | None = None,
    items: Items | None = None,
) -> Iterator[Conversation]:
    """Yield the conversations of all documents, each with at least two people in it.

    Args:
        documents: as from `elman.data.source.documents`.
        notes: told of everything that is left out or changed, and why.
        items: what a first reading of the documents found; None: they are read.

    Raises:
        ElmanError: where a document is empty, of no known format, broken, or where no
            conversation of any of them has an answer in it.
    """
    documents = list(documents)
    notes = Notes() if notes is None else notes
    found = 0
    one_sided: set[str] = set()

    def find_gap() -> float:
        return first_reading(documents).gap or DEFAULT_GAP_SECONDS

    items = _items(documents, notes) if items is None else items
    for conversation in answered(items, notes, reading or Reading(), find_gap, one_sided):
        found += 1
        yield conversation
    if not found:
        names = ", ".join(repr(author) for author in sorted(one_sided)[:10])
        who = f"only {names} spoke" if len(one_sided) == 1 else "nobody answered anybody"
        place = documents[0].name if len(documents) == 1 else f"{len(documents)} files"
        raise ElmanError(
            f"{place}: no conversation with an answer in it"
            + (f": {who}; a bot learns from at least two people" if one_sided else "")
            + (f" ({'; '.join(notes.lines())})" if notes.lines() else "")
            + ("" if notes.formats else what_is_missing(documents))
        )


def answered(
    items: Items,
    notes: Notes,
    reading: Reading,
    find_gap: Callable[[], float] = lambda: DEFAULT_GAP_SECONDS,
    one_sided: set[str] | None = None,
) -> Iterator[Conversation]:
    """Yield what readers found as conversations, each with at least two people in it.

    Args:
        items: what they found.
        notes: told of everything that is left out or changed, and why.
        reading: how it is read.
        find_gap: says at which silence chats are cut, where the reading does not.
        one_sided: those are added who spoke where nobody answered.
    """
    gap = reading.gap
    for name, item in items:
        if isinstance(item, Chat):
            if gap is None:
                gap = find_gap()
            tidied = Chat(_mended(item.id), _tidied(item.messages, name, notes, reading))
            conversations = cut(tidied, gap)
        else:
            messages = tuple(_tidied(item.messages, name, notes, reading))
            conversations = iter([Conversation(messages, _mended(item.id))])
        for conversation in conversations:
            if len(conversation.authors) < 2:
                if one_sided is not None:
                    one_sided.update(conversation.authors)
                if conversation.messages:
                    count = len(conversation.messages)
                    notes.leave_out("nobody answered in their conversation", name, count)
                continue
            yield _under_digest(conversation) if reading.hide_ids else conversation


def _under_digest(conversation: Conversation) -> Conversation:
    digest = hashlib.sha1(conversation.id.encode(), usedforsecurity=False).hexdigest()
    return replace(conversation, id=digest[:16])


def _items(documents: Sequence[Document], notes: Notes) -> Items:
    for name, group in groups(documents, notes):
        for item in group:
            yield name, item


def first_reading(
    documents: Sequence[Document], count_people: bool = False, max_held_chars: int = 0
) -> FirstReading:
    """Read what can be known before anything is chosen, and no more than that takes.

    Where people are not counted and messages not held, a chat is read up to `MAX_GAPS_OF_CHAT`
    messages, and a group of files up to its first conversation, since its chats come first.

    Args:
        count_people: read everything, to count everybody's messages.
        max_held_chars: hold the messages in memory, as long as their text is no longer than that.
    """
    notes = Notes()
    return first_reading_of(groups(documents, notes), notes, count_people, max_held_chars)


def first_reading_of(
    found: Iterable[tuple[str, Iterator[Conversation | Chat]]],
    notes: Notes,
    count_people: bool = False,
    max_held_chars: int = 0,
) -> FirstReading:
    """Do `first_reading` on groups of documents, whose readers tell the notes."""
    gaps, people = Gaps(), Counter[str]()
    held = _Held(max_held_chars)
    has_chats = False
    for name, group in found:
        for item in group:
            is_chat = isinstance(item, Chat)
            has_chats |= is_chat
            if not (is_chat or count_people):
                held.give_up()
                break
            messages = held.keep(name, item)
            with closing(_watched(messages, gaps) if is_chat else messages) as watched:
                if count_people:
                    tidied = _tidied(watched, name, Notes(), Reading())
                    people.update(message.author for message in tidied)
                else:
                    for number, _ in enumerate(watched, 1):
                        if held.is_given_up and number >= MAX_GAPS_OF_CHAT:
                            break
    del people[SYSTEM]
    return FirstReading(gaps if has_chats else None, people, notes, held.items)


def _watched(messages: Iterator[Message], gaps: Gaps) -> Generator[Message, None, None]:
    """Yield all messages, of which the first are shown to `gaps`."""
    with closing(gaps.watch(messages)) as first:
        yield from islice(first, MAX_GAPS_OF_CHAT)
    yield from messages


class _Held:
    """What is read, in memory, until it is more than a limit.

    Args:
        max_chars: of text.
    """

    def __init__(self, max_chars: int) -> None:
        self.items: list[tuple[str, Conversation | Chat]] | None = []
        self._left = max_chars

    @property
    def is_given_up(self) -> bool:
        return self.items is None

    def give_up(self) -> None:
        self.items = None

    def keep(self, name: str, item: Conversation | Chat) -> Generator[Message, None, None]:
        """Yield the messages of an item, and keep it with those that have passed."""
        messages: list[Message] = []
        if self.items is not None:
            self.items.append((name, Chat(item.id, messages) if isinstance(item, Chat) else item))
        for message in item.messages:
            if self.items is not None:
                self._left -= len(message.text)
                if self._left < 0:
                    self.items = None
                    messages.clear()
                elif isinstance(item, Chat):
                    messages.append(message)
            yield message


def _tidied(
    messages: Iterable[Message], where: str, notes: Notes, reading: Reading
) -> Iterator[Message]:
    """Leave out empty messages, cut over-long ones, and mend text that is not valid Unicode."""
    drop, change = reading.drop, reading.change
    for message in messages:
        author, text, time = message
        if drop and author in drop:
            notes.leave_out(f"{author} was to be left out", where)
            continue
        is_changed = False
        if len(text) > MAX_MESSAGE_CHARS:
            text, is_changed = text[:MAX_MESSAGE_CHARS], True
            if text.strip():
                notes.change(f"cut to {MAX_MESSAGE_CHARS:,} characters", where)
        if not text or text.isspace():
            notes.leave_out("empty", where)
            continue
        try:
            if not text.isascii():
                text.encode()  # faster than a search
        except UnicodeEncodeError:
            notes.change("half a character (a lone surrogate) mended", where)
            text, is_changed = _mended(text), True
        try:
            if not author.isascii():
                author.encode()
        except UnicodeEncodeError:
            author, is_changed = _mended(author), True
        if is_changed:
            message = Message(author, text, time)
        yield message if change is None else change(message)


def _mended(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)
