"""JSON as exports have it: comments before it, odd rows in it, more of it than fits into memory."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.numbers import Within64Bits
from elman.data.readers.records import OddRecordError, expect, shown
from elman.errors import ElmanError


def json_start(head: str) -> str:
    """Return a JSON text without what may stand before it: space, comments, odd rows."""
    return _BEFORE_JSON.sub("", head.removeprefix("\ufeff"), count=1)


_ODD_ROW = (
    r'(?:null|(?:true|false|-?\d[\d.eE+-]*|"(?:[^"\\\n]|\\.)*")(?=\s*\n\s*\S)'
    r"|\[[^\n]*\](?=[ \t\r]*\n[ \t]*[\[{]))[ \t\r]*\n"
)
_BEFORE_JSON = re.compile(rf"\A(?:\s+|(?://|#)[^\n]*(?:\n|\Z)|{_ODD_ROW})+")


ODD_ITEMS = r'(?:(?:null|true|false|-?\d[\d.eE+-]*|"[^"\\]*(?:\\.[^"\\]*)*"|\[\s*\])\s*,\s*)*'
"""A pattern of what may stand in a list before its first object."""

OBJECT_START = re.compile(rf"(?:\[\s*{ODD_ITEMS})?\{{")
"""How JSON begins that is an object, or a list with one in it."""


def starts_with_object(head: str, *keys: str) -> bool:
    """Say whether the text begins with a JSON object or list in which the keys occur."""
    head = json_start(head)
    return head.startswith(("{", "[")) and all(f'"{key}"' in head for key in keys)


def after_lines(head: str) -> bytes | None:
    """Say that JSON Lines may be cut after each line, and one JSON text nowhere."""
    return b"\n" if json_start(head).startswith("{") else None


def objects(document: Document, notes: Notes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of JSON Lines, or of one JSON list, each with where it stands.

    What is no object is left out and counted.

    Raises:
        ElmanError: where the JSON is broken.
    """
    for where, item in _values(document):
        try:
            found: dict[str, Any] = expect(item, dict, where, "each conversation")
        except OddRecordError as odd:
            odd.count(notes)
        else:
            yield where, found


def _values(document: Document) -> Iterator[tuple[str, Any]]:
    if json_start(document.head()).startswith("["):
        for where, _, item in items(document, "item"):
            yield where, item
        return
    begun = document.span is not None and document.span.begin > 0
    for number, line in document.lines():
        begun = begun or line.lstrip().startswith("{")
        if line.strip() and (begun or not line.lstrip().startswith(("//", "#"))):
            yield f"{document.name}: line {number}", parse(line, document.name, number)


def one_or_many(document: Document) -> Iterator[tuple[str, Any]]:
    """Yield the items of a JSON list, or the one value that is there instead, each with its place.

    Raises:
        ElmanError: where the JSON is broken.
    """
    path = "item" if json_start(document.head()).startswith("[") else ""
    return ((where, item) for where, _, item in items(document, path))


def items(
    document: Document, path: str, notes: Notes | None = None
) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Yield every item at a place of one JSON text, without having all of it in memory.

    Args:
        path: of the items, as ijson writes it: `item` for those of a list, and
            `chats.list.item.messages.item` for those of a list in the objects of a list in objects.
        notes: told where something else stands on the way to them.

    Yields:
        Where it stands, for messages to people; the plain values (text, numbers, bools) that stood
        before it in the objects and lists around it, by their whole path (`chats.list.item.name`);
        the item.

    Raises:
        ElmanError: where the JSON is broken; with the line.
    """
    import ijson

    done = 0
    # Where the parser stops, the text is read again with numbers that it can hold.
    for limited in (False, True):
        with document.stream() as stream:
            source = _AfterComments(stream)
            readable = Within64Bits(source) if limited else source
            events = ijson.basic_parse(readable, use_float=True)
            try:
                odd: list[tuple[str, str]] = []
                for number, (around, item) in enumerate(_items(events, path, odd), 1):
                    if number > done:
                        yield f"{document.name}: item {number}", around, item
                        done = number
                if notes is not None:
                    for what, got in odd:
                        notes.leave_out(f"expected {what}", f"{document.name}, got {got}")
                return
            except (ijson.JSONError, ValueError) as error:
                problem, line = error, source.line
    raise _broken(document, line, problem)


_Events = Iterator[tuple[str, Any]]


def _items(
    events: _Events, path: str, odd: list[tuple[str, str]]
) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield what stands around each item, and the item; list what else stands on the way."""
    around: dict[str, Any] = {}
    # The names of what we are in: only objects and lists on the way to the items. All others are
    # passed over, so that neither their number nor their depth costs anything.
    names: list[str] = []
    for event, value in events:
        if event == "map_key":
            names[-1] = value
            continue
        if event in _ENDS:
            names.pop()
            continue
        place = ".".join(names)
        on_the_way = not place or path.startswith(f"{place}.")
        if on_the_way and (wrong := _wrong_kind(event, value, path, names)):
            odd.append(wrong)
        if place == path:
            yield around, _built(event, value, events)
        elif event not in _BEGINNINGS:
            around[place] = value
        elif on_the_way:
            for key in [key for key in around if key.startswith(f"{place}.")]:
                del around[key]
            names.append("item" if event == "start_array" else "")
        else:
            _pass_over(events)


def _wrong_kind(event: str, value: Any, path: str, names: list[str]) -> tuple[str, str] | None:
    """Say what was expected at a place on the way to the items, and what is there instead."""
    below = path.split(".")[len(names)]
    wanted, kind = ("start_array", "a list") if below == "item" else ("start_map", "an object")
    if event == wanted:
        return None
    what = next((repr(name) for name in reversed(names) if name != "item"), "all of it")
    got = {"start_array": "a list", "start_map": "an object"}.get(event) or shown(value)
    return f"{'each of ' if names[-1:] == ['item'] else ''}{what} to be {kind}", got


def _pass_over(events: _Events) -> None:
    depth = 1
    for event, _ in events:
        if event in _BEGINNINGS:
            depth += 1
        elif event in _ENDS:
            depth -= 1
            if not depth:
                return


def _built(event: str, value: Any, events: _Events) -> Any:
    """Build the value that begins with an event; this takes the events up to its end."""
    if event not in _BEGINNINGS:
        return value
    whole: Any = {} if event == "start_map" else []
    inside, key = whole, ""
    above: list[Any] = []
    for event, value in events:
        if event == "map_key":
            key = value
            continue
        if event in _ENDS:
            if not above:
                break
            inside = above.pop()
            continue
        begins = event in _BEGINNINGS
        if begins:
            value = {} if event == "start_map" else []
        if type(inside) is dict:
            inside[key] = value
        else:
            inside.append(value)
        if begins:
            above.append(inside)
            inside = value
    return whole


_BEGINNINGS = frozenset(["start_map", "start_array"])
_ENDS = frozenset(["end_map", "end_array"])

_SMALL = 1 << 26
"""Bytes. Below it, a broken JSON text is read again, whole, to say where it is broken."""


class _AfterComments:
    """A stream from where its JSON begins; knows the line that it has come to."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._first: bytes | None = None
        self.line = 1
        self.bytes = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        if size != 0 and self._first is None:
            self._first = data
            text = data.decode("utf-8", "surrogateescape")
            start = json_start(text)
            self.line += text[: len(text) - len(start)].count("\n")
            data = start.encode("utf-8", "surrogateescape") or (b" " if data else b"")
        self.line += data.count(b"\n")
        self.bytes += len(data)
        return data


def _broken(document: Document, line: int, error: Exception) -> ElmanError:
    with document.stream() as stream:
        text = stream.read(_SMALL + 1)
        while len(text) <= _SMALL and (more := stream.read(_SMALL)):
            text += more
    if len(text) <= _SMALL:
        try:
            whole = text.decode("utf-8")
        except UnicodeDecodeError as wrong:
            line = 1 + text.count(b"\n", 0, wrong.start)
            return ElmanError(
                f"{document.name}: line {line}: byte 0x{text[wrong.start]:02x} is not valid UTF-8; "
                "name the file's encoding, for example --encoding latin-1"
            )
        start = json_start(whole)
        try:
            parse(start, document.name, 1 + whole[: len(whole) - len(start)].count("\n"))
        except ElmanError as found:
            return found
    problem = " ".join(str(error).split()) or "it ends too early"
    return ElmanError(f"{document.name}: about line {line}: broken JSON: {problem[:200]}")


def parse(text: str, name: str, first_line: int) -> Any:
    """Parsed JSON; an error names the file, the line and the column."""
    try:
        return json.loads(text, parse_constant=lambda _: None)  # NaN and Infinity are no JSON
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise ElmanError(
            f"{name}: line {line}, column {error.colno}: broken JSON: {error.msg}"
        ) from None
    except ValueError as error:  # a number of thousands of digits
        raise ElmanError(f"{name}: line {first_line}: {error}") from None
    except RecursionError:
        raise ElmanError(f"{name}: line {first_line}: JSON nested too deeply") from None
