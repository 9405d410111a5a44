"""No field of an export, whatever stands in it, costs more than the message that needs it."""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.reader import FolderReader
from elman.data.readers.registry import READERS

GOLDEN = Path(__file__).parent / "golden"

Place = tuple[Any, ...]
"""Keys and indices, from the whole text to a value in it."""


@dataclass(frozen=True)
class Export:
    """One export, of which one file is damaged.

    Args:
        reader: its name.
        damaged: the file.
        others: what else the export consists of.
        records: the places of the file's messages.
    """

    reader: str
    damaged: Path
    records: Callable[[Any], Iterator[Place]]
    others: tuple[Path, ...] = ()


def below(*keys: Any) -> Callable[[Any], Iterator[Place]]:
    """The places of the items of a list, or of each such list: `None` stands for every item."""

    def places(value: Any, keys: Sequence[Any], place: Place) -> Iterator[Place]:
        if not keys:
            yield place
        elif keys[0] is None:
            for key in value if isinstance(value, dict) else range(len(value)):
                yield from places(value[key], keys[1:], (*place, key))
        elif keys[0] in value:
            yield from places(value[keys[0]], keys[1:], (*place, keys[0]))

    return lambda data: places(data, keys, ())


SLACK = GOLDEN / "slack" / "workspace"
FACEBOOK = GOLDEN / "messenger/facebook/your_facebook_activity/messages/inbox"
EXPORTS = {
    "chitchat": Export("chitchat", GOLDEN / "chitchat.json", below(None, "messages", None, None)),
    "chatgpt": Export(
        "chatgpt", GOLDEN / "chatgpt/export.json", below(None, "mapping", None, "message")
    ),
    "discord": Export("discord", GOLDEN / "discord/channel.json", below("messages", None)),
    "telegram": Export("telegram", GOLDEN / "telegram/group.json", below("messages", None)),
    "account": Export(
        "telegram", GOLDEN / "telegram/account.json", below("chats", "list", None, "messages", None)
    ),
    "sharegpt": Export(
        "sharegpt", GOLDEN / "sharegpt/list.json", below(None, "conversations", None)
    ),
    "messenger": Export(
        "messenger", FACEBOOK / "zoemuller_1234/message_1.json", below("messages", None)
    ),
    "encrypted": Export(
        "messenger", GOLDEN / "messenger/encrypted/Zoe_7.json", below("messages", None)
    ),
    "slack": Export(
        "slack", SLACK / "general/2023-11-14.json", below(None), (SLACK / "users.json",)
    ),
    "slack users": Export(
        "slack", SLACK / "users.json", below(), (SLACK / "general/2023-11-14.json",)
    ),
    "messages": Export("messages", GOLDEN / "messages.jsonl", below(None, "messages", None)),
    "turns": Export("turns", GOLDEN / "turns.jsonl", below(None, "turns", None)),
}
WHOLE = ["chitchat", "chatgpt", "sharegpt", "messages", "turns"]
"""Formats of which a whole conversation may be odd."""


def content_of(path: Path) -> Any:
    text = path.read_text("utf-8-sig").replace("\\x", "\\u00")  # Telegram's own escapes
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return json.loads(text)


CONTENT = {name: content_of(export.damaged) for name, export in EXPORTS.items()}
PLACES = {name: list(export.records(CONTENT[name])) for name, export in EXPORTS.items()}


def places_in(value: Any, place: Place = ()) -> Iterator[Place]:
    yield place
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places_in(value[key], (*place, key))


def at(value: Any, place: Place) -> Any:
    for key in place:
        value = value[key]
    return value


DROPPED = object()
VALUES: list[Any] = [None, 5, -1.5, True, [], {}, "", "x", ["x"], {"x": 1}, [None], [[]], 10**18]
VALUES += ["2023-11-14T22:13:20Z", "1e999", DROPPED]


def damaged(data: Any, place: Place, value: Any) -> Any:
    """The data with another value at a place, or without what is there; a new whole."""
    if not place:
        return data if value is DROPPED else value
    data = copy.deepcopy(data)
    *above, key = place
    parent = at(data, tuple(above))
    if value is not DROPPED:
        parent[key] = value
    elif isinstance(parent, dict):
        del parent[key]
    return data


def read(folder: Path, name: str, data: Any) -> tuple[int, Notes]:
    """How many messages are kept of an export one file of which holds the data."""
    export = EXPORTS[name]
    place = folder / "talk"
    lines = export.damaged.suffix == ".jsonl" and isinstance(data, list)
    place.write_text("\n".join(map(json.dumps, data)) if lines else json.dumps(data))
    found = [Document(f"x/{export.damaged.parent.name}/{export.damaged.name}", place)]
    found += [Document(f"x/{path.parent.name}/{path.name}", path) for path in export.others]
    reader, notes = READERS[export.reader], Notes()
    items = (
        reader.read(found, notes)
        if isinstance(reader, FolderReader)
        else reader.read(found[0], notes)
    )
    return sum(len(list(item.messages)) for item in items), notes


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("odd")


def places(name: str) -> st.SearchStrategy[Place]:
    """A value in a message, or the message."""
    found = [
        (*place, *inner) for place in PLACES[name] for inner in places_in(at(CONTENT[name], place))
    ]
    return st.sampled_from(found)


@pytest.mark.parametrize("name", EXPORTS)
@given(data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_every_message_is_kept_or_counted(folder: Path, name: str, data: st.DataObject) -> None:
    before, notes = read(folder, name, CONTENT[name])
    place, value = data.draw(places(name)), data.draw(st.sampled_from(VALUES))
    kept, odd = read(folder, name, damaged(CONTENT[name], place, value))
    total = before + notes.left_out.total()
    if name == "slack users":
        assert kept == before
        assert odd.left_out.total() >= notes.left_out.total()
        return
    # A node of ChatGPT's tree need hold no message: then there is one less, or one more.
    is_node = name == "chatgpt" and place[-1] == "message"
    was_there = is_node and at(CONTENT[name], place) is not None
    is_there = is_node and value is not None and value is not DROPPED
    assert kept + odd.left_out.total() == total - was_there + is_there
    assert all(where.strip() for where in odd.first.values())


@pytest.mark.parametrize("name", WHOLE)
@given(data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_what_is_lost_of_a_conversation_is_counted(
    folder: Path, name: str, data: st.DataObject
) -> None:
    before, notes = read(folder, name, CONTENT[name])
    depth = 1 if name == "chitchat" else 0  # what is not there at all was never there
    inside = [place for place in places_in(CONTENT[name]) if len(place) > depth]
    place, value = data.draw(st.sampled_from(inside)), data.draw(st.sampled_from(VALUES))
    if place == (0,):
        value = None  # a file that begins otherwise is of another format
    kept, odd = read(folder, name, damaged(CONTENT[name], place, value))
    # A conversation without instructions, messages or nodes is none with odd ones.
    optional = place[-1] in ("system", "message") or "mapping" in place[-2:-1]
    if kept < before and value not in ([], [[]], {}) and not optional:
        assert odd.left_out - notes.left_out
