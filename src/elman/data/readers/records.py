"""What is done with a record that is not as its format has it: left out and counted, read on.

Only broken syntax stops a file; a field of the wrong kind costs the one message that needs it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from elman.data.notes import Notes
from elman.errors import ElmanError

T = TypeVar("T")


class OddRecordError(ElmanError):
    """A record that is not as its format has it: to be left out and counted, not to stop a file."""

    def __init__(self, where: str, expected: str, got: str) -> None:
        super().__init__(f"{where}: expected {expected}, got {got}")
        self._where, self._expected, self._got = where, expected, got

    def count(self, notes: Notes, messages: int = 1) -> None:
        """Tell the notes how many messages are left out with it, where, and why."""
        notes.leave_out(f"expected {self._expected}", f"{self._where}, got {self._got}", messages)


def expect(value: Any, kind: type, where: str, what: str) -> Any:
    """Return the value, where it is of that kind.

    Raises:
        OddRecordError: where it is of another.
    """
    if isinstance(value, kind):
        return value
    names: dict[type, str] = {str: "text", list: "a list", dict: "an object"}
    raise OddRecordError(where, f"{what} to be {names[kind]}", shown(value))


def shown(value: Any) -> str:
    """Return the beginning of a value, for messages to people."""
    try:
        return "nothing" if value is None else json.dumps(value)[:60]
    except RecursionError:
        return f"a {type(value).__name__} nested too deeply"


def kept(
    records: Iterable[tuple[str, Any]], read: Callable[[Any, str, Notes], T | None], notes: Notes
) -> Iterator[T]:
    """Yield what `read` makes of each record, its place and the notes; None is passed over.

    An odd record is left out and counted, and reading goes on.
    """
    for where, record in records:
        try:
            found = read(record, where, notes)
        except OddRecordError as odd:
            odd.count(notes)
        else:
            if found is not None:
                yield found


def listed(value: Any, where: str, what: str, notes: Notes) -> list[tuple[str, Any]]:
    """Return the items of a list, each with the place of the list; what is no list is counted."""
    try:
        return [(where, item) for item in expect(value, list, where, what)]
    except OddRecordError as odd:
        odd.count(notes)
        return []


def texts_of(
    parts: Sequence[Any], read: Callable[[Any, str], str | None], where: str
) -> tuple[list[str], bool]:
    """Return the texts of a message's parts, and whether there were parts without one.

    Args:
        read: the text of a part; None where it has none.

    Raises:
        OddRecordError: where a part is odd and no other has text.
    """
    texts: list[str] = []
    odd: OddRecordError | None = None
    for part in parts:
        try:
            text = part if isinstance(part, str) else read(part, where)
        except OddRecordError as error:
            odd = odd or error
        else:
            texts += [] if text is None else [text]
    if odd is not None and not any(map(str.strip, texts)):
        raise odd
    return texts, len(texts) < len(parts)
