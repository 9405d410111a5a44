import io
import json
import math
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.document import Document
from elman.data.readers.json_text import items
from elman.data.readers.numbers import Within64Bits
from elman.errors import ElmanError

Read = Callable[..., list[Any]]

CHATS = "chats.list.item.messages.item"


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("items") / "talk"


@pytest.fixture(scope="session")
def read(place: Path) -> Read:
    """The items of a JSON text."""

    def read(text: str | bytes, path: str = "item") -> list[Any]:
        place.write_bytes(text.encode() if isinstance(text, str) else text)
        return [item for _, _, item in items(Document("talk", place), path)]

    return read


def problem(read: Read, text: str | bytes, path: str = "item") -> str:
    with pytest.raises(ElmanError) as error:
        read(text, path)
    return str(error.value)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def depth_of(value: Any) -> int:
    depth = 0
    while isinstance(value, list):
        value, depth = value[0] if value else None, depth + 1
    return depth


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**63, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "item", "list", "", "a.b"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.lists(values), st.dictionaries(st.sampled_from("bcd"), values), st.booleans())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_items_are_what_json_says(
    read: Read, wanted: list[Any], beside: dict[str, Any], ascii_only: bool
) -> None:
    text = json.dumps({**beside, "a": wanted, "z": beside}, ensure_ascii=ascii_only)
    assert read(text, "a.item") == wanted
    assert read(json.dumps(wanted, indent=1)) == wanted


def test_items_know_where_they_stand_and_what_is_around_them(place: Path) -> None:
    chats = [
        {"name": "one", "id": 1, "tags": {"name": "no"}, "messages": [{"name": "no"}, "b"]},
        {"name": None, "messages": ["c"], "id": 2},
        {"messages": [], "name": "empty"},
        {"messages": ["d"]},
    ]
    whole = {"id": True, "other": {"id": 5}, "chats": {"about": "x", "list": chats}, "end": 1}
    place.write_text(json.dumps(whole))
    found = [
        (where, dict(around), item) for where, around, item in items(Document("talk", place), CHATS)
    ]
    always = {"id": True, "chats.about": "x"}
    one = {"chats.list.item.name": "one", "chats.list.item.id": 1}
    assert found == [
        ("talk: item 1", always | one, {"name": "no"}),
        ("talk: item 2", always | one, "b"),
        ("talk: item 3", always | {"chats.list.item.name": None}, "c"),
        ("talk: item 4", always, "d"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(' \n [1, "ü"]\n', id="space"),
        pytest.param('// made by\r\n# somebody\n\n[1, "ü"]', id="comment lines"),
        pytest.param('\ufeff[1, "ü"]', id="byte order mark"),
        pytest.param('\ufeff// made by\n[1, "ü"]', id="byte order mark and comment"),
        pytest.param('// made by\n[1, "ü"]'.encode("utf-16"), id="UTF-16"),
        pytest.param('\ufeff[1, "ü"]'.encode("utf-16-be"), id="UTF-16, big end first"),
    ],
)
def test_what_stands_before_json_is_passed_over(read: Read, text: str | bytes) -> None:
    assert read(text) == [1, "ü"]


@pytest.mark.parametrize("before", ["", "// a\n# b\n", " \n\n"])
@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        pytest.param("[1,\n2\n3]", 3, "Expecting ',' delimiter", id="comma"),
        pytest.param('[1,\n"a\nb"]', 2, "Invalid control character", id="line end in text"),
        pytest.param('[1,\n2,\n"a\\x"]', 3, "Invalid \\escape", id="escape"),
        pytest.param('[1,\n{"a": [2,', 2, "Expecting value", id="truncated"),
        pytest.param('[1,\n"ab', 2, "Unterminated string", id="truncated text"),
        pytest.param("[1]\n\n{}", 3, "Extra data", id="something after it"),
        pytest.param("[1]\n]", 2, "Extra data", id="closed twice"),
        pytest.param("[01]", 1, "Expecting ',' delimiter", id="zero before a number"),
    ],
)
def test_broken_json_is_located(
    read: Read, before: str, text: str, line: int, message: str
) -> None:
    found = problem(read, before + text)
    assert found.startswith(f"talk: line {line + before.count(chr(10))}, column ")
    assert f"broken JSON: {message}" in found


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("9223372036854775807", 2**63 - 1),
        ("92233720368547758080", 92233720368547758080.0),
        ("-" + "9" * 300, -1e300),
        ("1" + "0" * 4000, sys.float_info.max),
        ("1e999", sys.float_info.max),
        ("-1.5E+999", -sys.float_info.max),
        ("NaN", None),
        ("-Infinity", None),
    ],
)
def test_numbers_of_more_than_64_bits_stop_no_file(read: Read, number: str, value: Any) -> None:
    text = '" 1e999, NaN \\\\\\" 92233720368547758080 "'
    found = read(f'[1, {{"a": {number}}},\n{text}, {number}]')
    assert found == [1, {"a": value}, json.loads(text), value]
    assert read(f'{{"a": {{"b": [{number}]}}, "c": [5]}}', "c.item") == [5]


_TEXTS = st.text(alphabet='a1"\\\u00fc', max_size=4)
_NUMBERS = st.integers(-(2**70), 2**70) | st.floats()


@given(st.recursive(_TEXTS | _NUMBERS | st.none(), st.lists), st.integers(1, 9))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_numbers_are_mended_in_pieces_of_any_size(value: Any, size: int) -> None:
    stream = Within64Bits(io.BytesIO(json.dumps(value).encode()))
    pieces = []
    while piece := stream.read(size):
        pieces.append(piece)
    assert json.loads(b"".join(pieces)) == _within_64_bits(value)


def test_a_word_without_an_end_costs_no_stack() -> None:
    word = b"[" + b"a" * 100_000
    stream = Within64Bits(io.BytesIO(word))
    pieces = []
    while piece := stream.read(7):
        pieces.append(piece)
    assert b"".join(pieces) == word


def _within_64_bits(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_within_64_bits, value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return float(value) if isinstance(value, int) and abs(value) >= 2**63 else value


@pytest.mark.parametrize("text", ["", " ", "\n", "// nothing", "{", "[", "[[]", '{"a": {"item"'])
def test_a_text_without_an_end_is_broken(read: Read, text: str) -> None:
    assert "broken JSON" in problem(read, text)
    assert "broken JSON" in problem(read, text, "a.item")


def test_a_number_of_thousands_of_digits_is_refused(read: Read) -> None:
    assert problem(read, f"[1, {'9' * 5000}]").startswith("talk: line 1: Exceeds the limit")


def test_bytes_of_another_encoding_are_located(read: Read) -> None:
    found = problem(read, b'["a",\n"caf\xe9"]')
    assert found.startswith("talk: line 2: byte 0xe9 is not valid UTF-8; ")


def test_what_is_before_the_damage_is_read(place: Path) -> None:
    place.write_text('[{"a": 1}, {"a": 2}, {"a": ')
    found = items(Document("talk", place), "item")
    assert [next(found)[2] for _ in range(2)] == [{"a": 1}, {"a": 2}]
    with pytest.raises(ElmanError):
        next(found)


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_depth_costs_no_stack(read: Read, depth: int) -> None:
    deep = nested(depth)
    assert [depth_of(item) for item in read(f"[{deep}, 5]")] == [depth, 0]
    assert read(f'{{"b": {deep}, "a": [5], "c": {deep}}}', "a.item") == [5]
    assert problem(read, f"{deep[:-1]}, 5", "a.item").startswith("talk: ")


@pytest.mark.parametrize("path", ["many.item", "few.item"])
def test_memory_does_not_grow_with_the_text(place: Path, path: str) -> None:
    item = json.dumps({"text": "Grüße " * 10, "entities": [{"type": "plain"}] * 5})
    count = 20_000_000 // len(item)
    with place.open("w") as file:
        file.write('{"many": [')
        file.writelines(f"{item},\n" for _ in range(count))
        file.write(f'{item}], "few": [{item}]}}')
    tracemalloc.start()
    found = sum(1 for _ in items(Document("talk", place), path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == (count + 1 if path == "many.item" else 1)
    assert peak < 2_000_000
