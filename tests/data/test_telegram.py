import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import Message
from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.telegram import READER, _Mended, _mended_escapes, _mended_ids
from elman.errors import ElmanError

Chats = list[tuple[str, list[Message]]]

TEN = 1696154400  # 10 o'clock on the first of October 2023, in UTC


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("telegram") / "talk"


def read(place: Path, export: str | dict[str, Any]) -> tuple[Chats, Notes]:
    place.write_text(export if isinstance(export, str) else json.dumps(export), "utf-8")
    document, notes = Document("talk", place), Notes()
    assert READER.matches(document.head())
    return [(chat.id, list(chat.messages)) for chat in READER.read(document, notes)], notes


def chat(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"name": "Ida", "type": "personal_chat", "id": 5, **more, "messages": list(messages)}


def account(chats: list[Any], left: list[Any]) -> dict[str, Any]:
    return {
        "about": "Here is what you asked for.",
        "chats": {"about": "", "list": chats},
        "left_chats": {"about": "", "list": left},
    }


def message(text: Any = "Hi", **more: Any) -> dict[str, Any]:
    record = {"id": 1, "type": "message", "date": "2023-10-01T12:00:00", "from": "Ida"}
    return {**record, "from_id": "user5", "date_unixtime": str(TEN), "text": text, **more}


@pytest.mark.parametrize(
    "head",
    [
        pytest.param('{"name": null, "type": "private_group", "id": 1, "messages": [{"i', id="cut"),
        pytest.param('{"type":"saved_messages","id":1,"messages":[]}', id="without a name"),
        pytest.param('{"type":"verification_codes","id":1,"messages":[]}', id="codes"),
        pytest.param('\ufeff\n{"name":"a\\"{[","type":"bot_chat","id":-1,"messages":[', id="quote"),
        pytest.param('{"about": "a \\"b\\"", "personal_information": {"user_id"', id="account"),
        pytest.param('{"about": "", "left_chats": {"about"', id="left chats alone"),
    ],
)
def test_exports_are_known(head: str) -> None:
    assert READER.matches(head)


@pytest.mark.parametrize(
    "head",
    [
        "",
        "{",
        '{"name": "a", "type": "personal_chat", "id": 1',
        '{"name": "a", "id": 1, "messages": [{"type": "personal_chat"}]}',
        '{"name": "a", "type": "thread", "id": 1, "messages": []}',
        '{"id": "x", "messages": [{"role": "user", "content": "\\"type\\": \\"bot_chat\\""}]}',
        '[{"name": "a", "type": "personal_chat", "id": 1, "messages": []}]',
        '{"about": "chats"}',
        'Ida: {"about": "a", "chats": {}}',
    ],
)
def test_other_texts_are_not_taken(head: str) -> None:
    assert not READER.matches(head)


def test_a_chat_is_read_as_it_comes(place: Path) -> None:
    place.write_text(json.dumps(chat(message("one"), message("two")))[:-3])
    found = iter(next(iter(READER.read(Document("talk", place), Notes()))).messages)
    assert next(found).text == "one"
    with pytest.raises(ElmanError, match="broken JSON"):
        next(found)


def test_chats_of_one_name_or_number_are_kept_apart(place: Path) -> None:
    found, _ = read(
        place,
        account(
            [
                chat(message(), message()),
                chat(message(), id=6),
                chat(message(), id=6, type="bot_chat"),
            ],
            [chat(message(), id=6, name=None)],
        ),
    )
    assert [(name, len(messages)) for name, messages in found] == [
        ("Ida 5", 2),
        ("Ida 6", 1),
        ("Ida 6", 1),
        ("personal_chat 6", 1),
    ]


def test_an_export_without_messages_is_counted(place: Path) -> None:
    found, notes = read(place, account([chat()], []))
    assert not found
    assert notes.files == {"a Telegram export without messages": 1}


@pytest.mark.parametrize(
    ("sender", "name"),
    [
        ({}, "Ida"),
        ({"from": None}, "user5"),
        ({"from": ""}, "user5"),
        ({"from": None, "from_id": 5}, "user5"),
        ({"from": "Bo", "from_id": None}, "Bo"),
        ({"from": None, "from_id": None}, "Group"),
    ],
)
def test_everybody_has_a_name(place: Path, sender: dict[str, Any], name: str) -> None:
    [(_, [found])], _ = read(place, chat(message(**sender), name="Group"))
    assert found.author == name


def test_people_of_one_name_are_told_apart_in_all_chats(place: Path) -> None:
    one, other = message(), message(from_id="user6")
    found, _ = read(place, account([chat(one, other, one), chat(other, one, id=6)], []))
    assert [[m.author for m in messages] for _, messages in found] == [
        ["Ida", "Ida (user6)", "Ida"],
        ["Ida (user6)", "Ida"],
    ]


@pytest.mark.parametrize(
    ("dates", "time"),
    [
        ({}, datetime(2023, 10, 1, 10, tzinfo=UTC)),
        ({"date_unixtime": TEN}, datetime(2023, 10, 1, 10, tzinfo=UTC)),
        ({"date_unixtime": None}, datetime(2023, 10, 1, 12)),
        ({"date_unixtime": "0", "date": None}, datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_times_are_in_utc_where_the_export_says_so(
    place: Path, dates: dict[str, Any], time: datetime
) -> None:
    [(_, [found])], _ = read(place, chat(message(**dates)))
    assert found.time == time
    assert found.time.tzinfo == time.tzinfo


@pytest.mark.parametrize(
    ("record", "problem", "got"),
    [
        (5, "each message to be an object", "5"),
        ({}, "'text' to be a list", "nothing"),
        (message(type=5), "'type' to be text", "5"),
        (message(None), "'text' to be a list", "nothing"),
        (message({}), "'text' to be a list", "nothing"),
        (message([5]), "each part of 'text' to be an object", "5"),
        (message([{"type": "bold"}]), "the 'text' of each part to be text", "nothing"),
        (message(**{"from": ["x"]}), "'from' to be text", '["x"]'),
    ],
)
def test_what_is_no_message_is_left_out_and_counted(
    place: Path, record: Any, problem: str, got: str
) -> None:
    [(_, found)], notes = read(place, chat(message(), record, message()))
    assert len(found) == 2
    assert notes.left_out == {f"expected {problem}": 1}
    assert notes.first[f"expected {problem}"] == f"talk: item 2, got {got}"


@pytest.mark.parametrize(
    ("record", "time", "changed"),
    [
        (message(from_id=[]), datetime(2023, 10, 1, 10, tzinfo=UTC), 0),
        (message(["Hi", 5]), datetime(2023, 10, 1, 10, tzinfo=UTC), 1),
        (message(None, text_entities=["Hi"]), datetime(2023, 10, 1, 10, tzinfo=UTC), 0),
        (message(date_unixtime="soon"), datetime(2023, 10, 1, 12), 0),
        (message(date_unixtime="9" * 30), datetime(2023, 10, 1, 12), 0),
        (message(date_unixtime=[]), datetime(2023, 10, 1, 12), 0),
        (message(date_unixtime="2023-10-01T10:00:00Z"), datetime(2023, 10, 1, 10, tzinfo=UTC), 0),
        (message(date_unixtime=None, date=TEN), datetime(2023, 10, 1, 10, tzinfo=UTC), 0),
        (message(date_unixtime=None, date="today"), None, 1),
        (message(date_unixtime=None, date=None), None, 0),
    ],
)
def test_what_has_a_text_and_an_author_is_kept(
    place: Path, record: Any, time: datetime | None, changed: int
) -> None:
    [(_, [found])], notes = read(place, chat(record))
    assert (found.author, found.text, found.time) == ("Ida", "Hi", time)
    assert (notes.left_out.total(), notes.changed.total()) == (0, changed)


FILES = [
    "video_files/sticker (2).webm",
    "(File not included. Change data exporting settings to download.)",
    'a "b", c\\d',
    "2 of 3.webm",
    "nullified.webm",
    "null.webm",
    "ü",
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("file", FILES)
def test_a_document_id_without_quotation_marks_is_mended(place: Path, file: str, end: str) -> None:
    emoji = {"type": "custom_emoji", "text": "🙂", "document_id": "FILE"}
    last = {"type": "custom_emoji", "document_id": "FILE", "text": "🙂"}
    own = message(["Hi ", emoji, last, ""])
    text = json.dumps(chat(own, message('"document_id": no file\n')), indent=1)
    place.write_bytes(text.replace('"FILE"', file).replace("\n", end).encode())
    notes = Notes()
    [[one, other]] = [list(each.messages) for each in READER.read(Document("talk", place), notes)]
    assert (one.text, other.text) == ("Hi 🙂🙂", '"document_id": no file\n')
    what = "a 'document_id' without quotation marks mended"
    assert notes.changed == {what: 1}
    assert notes.first[what] == "talk: item 1"


@pytest.mark.parametrize("value", ["null", "5", "-12", '"a"', "{}", "[]", "true"])
def test_a_document_id_that_is_json_is_left_as_it_is(value: str) -> None:
    for text in (f'{{"document_id": {value},\n"a": 1}}', f'{{\n"document_id": {value}\n}}'):
        assert _mended_ids(io.BytesIO(text.encode())).read() == text.encode()


@given(
    st.lists(st.sampled_from(['"document_id": a b,', '"document_id": "a"', "x", "\n", '"do', '"'])),
    st.integers(1, 30),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_document_ids_are_mended_in_pieces_of_any_size(pieces: list[str], size: int) -> None:
    data = "".join(pieces).encode()
    assert _all_of(_mended_ids(io.BytesIO(data)), size) == _all_of(
        _mended_ids(io.BytesIO(data)), len(data) + 1
    )


def _all_of(stream: _Mended, size: int) -> bytes:
    found = b""
    while piece := stream.read(size):
        found += piece
    return found


def test_a_message_of_custom_emoji_alone_says_the_emoji(place: Path) -> None:
    emoji = {"type": "custom_emoji", "text": "🙂", "document_id": "stickers/a.tgs"}
    empty = {**emoji, "text": " "}
    export = chat(message([emoji, " ", emoji, ""]), message(["🙂"]), message([empty, ""]))
    [(_, found)], notes = read(place, export)
    assert [m.text for m in found] == ["🙂 🙂", "🙂"]
    assert notes.left_out == {"without text": 1}


def test_an_odd_custom_emoji_alone_is_left_out(place: Path) -> None:
    emoji = {"type": "custom_emoji", "text": "🙂", "document_id": "FILE"}
    export = chat(message([emoji, ""]), message(["Hi ", emoji]))
    text = json.dumps(export, indent=1).replace('"FILE"', "files/a (2).webm")
    [(_, found)], notes = read(place, text)
    assert [m.text for m in found] == ["Hi 🙂"]
    assert notes.left_out == {"nothing but a custom emoji whose 'document_id' is broken": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"chats": None}, "expected 'chats' to be an object"),
        ({"chats": [5]}, "expected 'chats' to be an object"),
        ({"chats": {"list": 5}}, "expected 'list' to be a list"),
        ({"chats": {"list": [None]}}, "expected each of 'list' to be an object"),
        ({"chats": {"list": [{"messages": "x"}]}}, "expected 'messages' to be a list"),
    ],
)
def test_odd_chats_are_counted(place: Path, change: dict[str, Any], reason: str) -> None:
    found, notes = read(place, {**account([], [chat(message("Tea?"))]), **change})
    assert [[m.text for m in messages] for _, messages in found] == [["Tea?"]]
    assert notes.left_out == {reason: 1}


def test_damage_is_located_in_spite_of_telegrams_escapes(place: Path) -> None:
    text = json.dumps(chat(message("VT")), indent=1).replace("VT", r"\x0B")
    with pytest.raises(ElmanError, match=r"talk: line 14, column 5: broken JSON: Expecting ','"):
        read(place, text.replace("\n  }", "\n  } 5"))


@given(
    st.lists(st.sampled_from([b"\\", b"\\\\", b"x", b"0", b"F", b"\\x0C", b"n", b"\n", b'"'])),
    st.integers(1, 5),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_escapes_are_read_in_pieces_of_any_size(pieces: list[bytes], size: int) -> None:
    data = b"".join(pieces)
    stream, found = _mended_escapes(io.BytesIO(data)), b""
    while piece := stream.read(size):
        found += piece
    wanted, at = b"", 0
    while at < len(data):  # what it says, one character after another
        length = 2 if data[at : at + 1] == b"\\" else 1
        if re.match(rb"\\x[0-9A-F]{2}", data[at:]):
            length, wanted = 4, wanted + b"\\u00" + data[at + 2 : at + 4]
        else:
            wanted += data[at : at + length]
        at += length
    assert found == wanted


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map("a{}".format)
kept = st.builds(
    lambda text, name: (message(text, **{"from": name, "from_id": f"user {name}"}), True),
    texts,
    names,
)
parted = st.builds(
    lambda parts: (
        message([part if plain else {"type": "bold", "text": part} for part, plain in parts]),
        True,
    ),
    st.lists(st.tuples(texts, st.booleans()), min_size=1, max_size=3),
)
left_out = st.sampled_from(
    [
        {"id": 1, "type": "service", "action": "pin_message", "text": ""},
        {"id": 1, "type": "unsupported"},
        message(forwarded_from=None),
        message(""),
        message([]),
        message(" \n", photo="photos/1.jpg"),
        message("", poll={"question": "?"}),
    ]
).map(lambda record: (record, False))
chats = st.lists(kept | parted | left_out, max_size=6)


@given(st.lists(chats, max_size=3), st.lists(chats, max_size=3))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_messages_are_kept_or_counted(
    place: Path,
    here: list[list[tuple[dict[str, Any], bool]]],
    left: list[list[tuple[dict[str, Any], bool]]],
) -> None:
    lists = [
        [chat(*(record for record, _ in records), id=number) for number, records in enumerate(part)]
        for part in (here, left)
    ]
    found, notes = read(place, account(*lists))
    wanted = [record for part in (here, left) for records in part for record in records]
    kept = [(record["from"], said(record)) for record, keep in wanted if keep]
    assert [(m.author, m.text) for _, messages in found for m in messages] == kept
    assert notes.left_out.total() == len(wanted) - len(kept)


def said(record: dict[str, Any]) -> str:
    text = record["text"]
    if isinstance(text, str):
        return text
    return "".join(part if isinstance(part, str) else part["text"] for part in text)
