"""What a reader is, and what the JSON ones share."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from elman.data.conversation import Conversation
from elman.data.source import Document, Notes
from elman.errors import ElmanError


@dataclass(frozen=True)
class Reader:
    """One format.

    Args:
        matches: whether a document that begins so is of this format.
        read: its conversations, in order; tells the notes what it leaves out.
    """

    matches: Callable[[str], bool]
    read: Callable[[Document, Notes], Iterator[Conversation]]


def starts_with_object(head: str, *keys: str) -> bool:
    """Whether the text begins with a JSON object, or a list of them, in which the keys occur."""
    head = head.removeprefix("\ufeff").lstrip()
    return head.startswith(("{", "[")) and all(f'"{key}"' in head for key in keys)


def objects(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of JSON Lines, or of one JSON list, each with where it stands.

    Raises:
        ElmanError: where the JSON is broken, or is not made of objects.
    """
    if document.head().removeprefix("\ufeff").lstrip().startswith("["):
        items = parse(document.text(), document.name, 1)
        for number, item in enumerate(items, 1):
            where = f"{document.name}: item {number}"
            yield where, _expect_object(item, where)
        return
    for number, line in document.lines():
        if line.strip():
            where = f"{document.name}: line {number}"
            yield where, _expect_object(parse(line, document.name, number), where)


def expect(value: Any, kind: type, where: str, what: str) -> Any:
    """The value, where it is of that kind; else an error that says what was expected."""
    if isinstance(value, kind):
        return value
    names: dict[type, str] = {str: "text", list: "a list", dict: "an object"}
    wanted = names[kind]
    got = "nothing" if value is None else json.dumps(value)[:60]
    raise ElmanError(f"{where}: expected {what} to be {wanted}, got {got}")


def _expect_object(value: Any, where: str) -> dict[str, Any]:
    found: dict[str, Any] = expect(value, dict, where, "each conversation")
    return found


def parse(text: str, name: str, first_line: int) -> Any:
    """Parsed JSON; an error names the file, the line and the column."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise ElmanError(
            f"{name}: line {line}, column {error.colno}: broken JSON: {error.msg}"
        ) from None
    except ValueError as error:  # a number of thousands of digits
        raise ElmanError(f"{name}: line {first_line}: {error}") from None
    except RecursionError:
        raise ElmanError(f"{name}: line {first_line}: JSON nested too deeply") from None
