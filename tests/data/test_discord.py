import csv
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
from elman.data.readers.discord import READER
from elman.errors import ElmanError

COLUMNS = ["AuthorID", "Author", "Date", "Content", "Attachments", "Reactions"]
NOON = "2023-10-01T12:00:00+00:00"


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("discord") / "talk"


def read(place: Path, export: str | dict[str, Any]) -> tuple[str, list[Message], Notes]:
    text = export if isinstance(export, str) else json.dumps(export)
    place.write_bytes(text.encode())
    document, notes = Document("talk", place), Notes()
    assert READER.matches(document.head())
    [chat] = READER.read(document, notes)
    return chat.id, list(chat.messages), notes


def channel(*messages: Any) -> dict[str, Any]:
    return {
        "guild": {"id": "1", "name": "Guild"},
        "channel": {"id": "2", "type": "GuildTextChat", "name": "talk"},
        "messages": list(messages),
    }


def message(content: Any = "Hi", **more: Any) -> dict[str, Any]:
    author = {"id": "7", "name": "ida", "discriminator": "0000", "nickname": "Ida"}
    return {"type": "Default", "timestamp": NOON, "content": content, "author": author, **more}


def table(*rows: list[str], delimiter: str = ",", header: list[str] | None = None) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    text.write(delimiter.join(header or COLUMNS) + "\r\n")
    writer.writerows(rows)
    return text.getvalue()


def row(content: str = "Hi", date: str = NOON, files: str = "", author: str = "ida") -> list[str]:
    return [f"id of {author}", author, date, content, files, ""]


@pytest.mark.parametrize(
    "head",
    [
        '{"guild":{"id":"1","name":"a}{\\"","iconUrl":null},"channel":{"id"',
        '\ufeff\n{\r\n "guild": {\r\n },\r\n "channel": {',
        "AuthorID,Author,Date,Content,Attachments,Reactions",
        "\ufeffAuthorID;Author;Date;Content;Attachments;Reactions;\r\n",
        '"AuthorID","Author","Date","Content","Attachments","Reactions"\n',
        "Author;Date;Content;Attachments;Reactions;\n",
    ],
)
def test_exports_are_known(head: str) -> None:
    assert READER.matches(head)


@pytest.mark.parametrize(
    "head",
    [
        "",
        "{",
        '{"guild": {"id": "1"',
        '{"guild": "a", "channel": {}}',
        '{"a": {"guild": {}, "channel": {}}}',
        '[{"guild": {}, "channel": {}}]',
        "Author,Date,Content\n",
        "AuthorID,Author;Date;Content;Attachments;Reactions\n",
        "Ida: AuthorID,Author,Date,Content,Attachments,Reactions",
    ],
)
def test_other_texts_are_not_taken(head: str) -> None:
    assert not READER.matches(head)


def test_a_channel_is_called_by_its_names(place: Path) -> None:
    assert read(place, channel())[0] == "Guild/talk"
    nameless = {"guild": {}, "channel": {"name": None}, "messages": []}
    assert read(place, nameless)[0] == "?/?"
    assert read(place, table(row()))[0] == "talk"


def test_a_channel_is_read_as_it_comes(place: Path) -> None:
    for text in (json.dumps(channel(message(), message()))[:-3], table(row(), row())[:-3]):
        place.write_text(text)
        [chat] = READER.read(Document("talk", place), Notes())
        messages = iter(chat.messages)
        if text.startswith("{"):
            assert next(messages).text == "Hi"
        with pytest.raises(ElmanError):
            list(messages)


@pytest.mark.parametrize(
    ("others", "name"),
    [
        ({"name": "ida2", "nickname": None}, "ida2"),
        ({"name": "ida2"}, "Ida (ida2)"),
        ({"discriminator": None}, "Ida (ida)"),
        ({"discriminator": "0042"}, "Ida (ida#0042)"),
    ],
)
def test_people_of_one_name_are_told_apart(place: Path, others: dict[str, Any], name: str) -> None:
    ida = message()
    other = message(author={**ida["author"], "id": "8", **others})
    _, found, _ = read(place, channel(ida, other, ida))
    assert [m.author for m in found] == ["Ida", name, "Ida"]


@pytest.mark.parametrize(
    ("accounts", "names"),
    [
        (["ida#1234", "bo", "ida#1234"], ["ida", "bo", "ida"]),
        (["ida#1234", "ida#1235"], ["ida", "ida#1235"]),
        (["#1234", "a#12345", "a # 123"], ["#1234", "a#12345", "a # 123"]),
    ],
)
def test_numbers_of_accounts_are_left_where_they_tell_something(
    place: Path, accounts: list[str], names: list[str]
) -> None:
    _, found, _ = read(place, table(*(row(author=account) for account in accounts)))
    assert [m.author for m in found] == names


@pytest.mark.parametrize(
    ("embeds", "text"),
    [
        ([{"title": "A", "description": "b\nc"}], "A\nb\nc"),
        ([{"title": "", "description": "b"}, {"title": "D", "description": None}], "b\nD"),
    ],
)
def test_a_bot_may_answer_in_a_box(place: Path, embeds: list[Any], text: str) -> None:
    _, [found], notes = read(place, channel(message("", embeds=embeds)))
    assert found.text == text
    assert notes.changed.total() == 1


@pytest.mark.parametrize(
    "content",
    [
        "Pinned a message.",
        "Left the group.",
        "Added Ida (b) to the group.",
        "Removed Ida from the group.",
        "Changed the channel name: cakes",
        "Started a call that lasted 0 minutes.",
    ],
)
def test_system_lines_of_tables_are_known_by_their_text(place: Path, content: str) -> None:
    _, found, notes = read(place, table(row(content), row(f"I: {content}")))
    assert [m.text for m in found] == [f"I: {content}"]
    assert notes.left_out == {"a system line": 1}


@pytest.mark.parametrize(
    ("dates", "first"),
    [
        pytest.param(["2023-09-23T13:15:48.3790000"], (2023, 9, 23, 13, 15, 48, 379000), id="ISO"),
        pytest.param(["01-Jan-20 12:33 AM"], (2020, 1, 1, 0, 33), id="name of the month"),
        pytest.param(["31-dec-2019 23:59:58"], (2019, 12, 31, 23, 59, 58), id="24 hours"),
        pytest.param(["06.10.2023 12:37"], (2023, 10, 6, 12, 37), id="dots"),
        pytest.param(["6-10-2023 02:37"], (2023, 10, 6, 2, 37), id="dashes"),
        pytest.param(["2023/10/06 2.37"], (2023, 10, 6, 2, 37), id="year first"),
        pytest.param(["06/10/2023 12:37"], (2023, 10, 6, 12, 37), id="slashes, 24 hours"),
        pytest.param(["06/10/2023, 12:37 pm"], (2023, 6, 10, 12, 37), id="slashes, halves"),
        pytest.param(["6/10/23 1:37\u202fAM", "13/10/23 2:00 PM"], (2023, 10, 6, 1, 37), id="13/"),
        pytest.param(["6/10/2023 13:37", "6/13/2023 14:00"], (2023, 6, 10, 13, 37), id="/13"),
        pytest.param(
            ["\u0666/\u0661\u0660/\u0662\u0660\u0662\u0663 \u0661\u0662:\u0663\u0667"],
            (2023, 10, 6, 12, 37),
            id="digits of Arabic",
        ),
    ],
)
def test_dates_of_tables(place: Path, dates: list[str], first: tuple[int, ...]) -> None:
    _, found, _ = read(place, table(*(row(date=date) for date in dates)))
    assert found[0].time == datetime(*first)  # type: ignore[arg-type]


def test_times_with_a_zone_are_put_into_utc(place: Path) -> None:
    for export in (
        table(row(date="2023-10-01T14:00:00.0000000+02:00")),
        channel(message(timestamp="2023-10-01T14:00:00+02:00")),
    ):
        _, [found], _ = read(place, export)
        assert found.time == datetime(2023, 10, 1, 12, tzinfo=UTC)
        assert found.time.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (table(row(), row())[:-3], "line 3: broken CSV: unexpected end of data"),
        (table(row(), row("x" * 200_000)), "line 3: broken CSV: field larger than field limit"),
        (table(row()) + '"a"b,c\n', "line 3: broken CSV: ',' expected after '\"'"),
    ],
)
def test_broken_tables_are_refused(place: Path, text: str, problem: str) -> None:
    with pytest.raises(ElmanError, match=re.escape(f"talk: {problem}")):
        read(place, text)


@pytest.mark.parametrize(
    ("rows", "line", "reason"),
    [
        ([row(), ["1", "ida"], row()], 3, "a row with too few fields"),
        ([row("a\nb"), ["1"] * 7, row()], 4, "a row with too many fields"),
        ([row(), row(author=" "), row()], 3, "without an author"),
    ],
)
def test_an_odd_row_is_left_out_and_counted(
    place: Path, rows: list[list[str]], line: int, reason: str
) -> None:
    _, found, notes = read(place, table(*rows))
    assert len(found) == 2
    assert notes.left_out == {reason: 1}
    assert notes.first[reason] == f"talk: line {line}"


@pytest.mark.parametrize(
    ("dates", "line"),
    [
        (["yesterday"], 2),
        (["1/1/23 1:00", "13/13/23 1:00"], 3),
        (["01-Foo-23 1:00 AM"], 2),
        (["0001-01-01T00:00:00+14:00"], 2),
    ],
)
def test_a_date_that_is_none_is_taken_off_and_counted(
    place: Path, dates: list[str], line: int
) -> None:
    _, found, notes = read(place, table(*(row(date=date) for date in dates)))
    assert [m.time is None for m in found] == [
        number == line for number in range(2, 2 + len(dates))
    ]
    assert not notes.left_out
    assert notes.changed == {"a time of no known form taken off": 1}
    assert notes.first["a time of no known form taken off"] == f"talk: line {line}"


def test_an_old_table_has_numbers_behind_names_and_short_dates(place: Path) -> None:
    rows = [row("a\nb", "14-May-19 09:48 PM", author="ida#0358"), row(author="lamp#0000")]
    _, found, _ = read(place, table(*rows))
    assert [m.author for m in found] == ["ida", "lamp"]
    assert found[0].time == datetime(2019, 5, 14, 21, 48)


@pytest.mark.parametrize(
    ("record", "problem", "got"),
    [
        (5, "each message to be an object", "5"),
        ({}, "'content' to be text", "nothing"),
        (message(type=5), "'type' to be text", "5"),
        (message(None), "'content' to be text", "nothing"),
        (message(author=None), "'author' to be an object", "nothing"),
        (message(author={}), "the author's 'name' to be text", "nothing"),
        (message("", embeds=5), "'embeds' to be a list", "5"),
        (message("", embeds=[5]), "each of 'embeds' to be an object", "5"),
        (message("", embeds=[{"title": 5}]), "the text of each of 'embeds' to be text", "5"),
    ],
)
def test_what_is_no_message_is_left_out_and_counted(
    place: Path, record: Any, problem: str, got: str
) -> None:
    _, found, notes = read(place, channel(message(), record, message()))
    assert len(found) == 2
    assert notes.left_out == {f"expected {problem}": 1}
    assert notes.first[f"expected {problem}"] == f"talk: item 2, got {got}"


@pytest.mark.parametrize(
    ("record", "author", "changes"),
    [
        (message(author={"name": "ida", "nickname": 5}), "ida", 0),
        (message(author={"name": "ida", "id": 5}), "ida", 0),
        (message(author={"nickname": "Ida"}), "Ida", 0),
        ({key: value for key, value in message().items() if key != "type"}, "Ida", 0),
        (message(timestamp=None), "Ida", 0),
        (message(timestamp="noon"), "Ida", 1),
        (message(timestamp=[]), "Ida", 1),
        (message(timestamp=1696161600000), "Ida", 0),
        (message("", embeds=[5, {"title": "Hi"}]), "Ida", 1),
        (message("", embeds=[{"fields": [{"name": "Hi", "value": None}, 5]}]), "Ida", 1),
    ],
)
def test_what_has_a_text_and_an_author_is_kept(
    place: Path, record: Any, author: str, changes: int
) -> None:
    _, [found], notes = read(place, channel(record))
    assert (found.author, found.text) == (author, "Hi")
    assert not notes.left_out
    assert notes.changed.total() == changes


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"poll": {"question": {"text": "Tea?"}}}, "a poll"),
        ({"stickers": [{"id": "1"}]}, "a photo, file, sticker or other media without text"),
        ({"forwardedMessage": {"content": "Hi"}}, "forwarded, so written by somebody else"),
    ],
)
def test_what_is_no_text(place: Path, more: dict[str, Any], reason: str) -> None:
    _, found, notes = read(place, channel(message("", **more)))
    assert (found, notes.left_out) == ([], {reason: 1})


def test_the_fields_of_a_box_are_text_as_well(place: Path) -> None:
    fields = [{"name": "Wind", "value": "none"}, {"name": "Rain", "value": "some"}]
    _, [found], _ = read(place, channel(message("", embeds=[{"title": "A", "fields": fields}])))
    assert found.text == "A\nWind\nnone\nRain\nsome"


def test_a_channel_without_messages_is_counted(place: Path) -> None:
    _, found, notes = read(place, channel())
    assert (found, notes.files.total()) == ([], 1)


def test_blank_lines_between_rows_are_passed_over(place: Path) -> None:
    _, found, _ = read(place, " \n\n" + table(row("a")) + "\r\n\n" + table(row("b"))[52:])
    assert [m.text for m in found] == ["a", "b"]


def test_a_table_may_hold_any_character(place: Path) -> None:
    content = 'a\0b\v\f\x1c\u2028 "c", d;\te'
    _, found, _ = read(place, table(row(content)))
    assert [m.text for m in found] == [content]


characters = st.characters(exclude_categories=["Cs"], exclude_characters="\r")
texts = st.text(characters).map("a{}".format)
# What is said, and whether there is a file beside it.
said = st.tuples(texts | st.sampled_from(["", " ", "Joined the server."]), st.booleans())


@given(st.lists(said), st.sampled_from([",", ";"]), st.booleans())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_messages_are_kept_or_counted(
    place: Path, said: list[tuple[str, bool]], delimiter: str, as_json: bool
) -> None:
    kinds = {"Joined the server.": "GuildMemberJoin"}
    if as_json:
        export: str | dict[str, Any] = channel(
            *(
                message(text, type=kinds.get(text, "Reply"), attachments=[{"id": "1"}] * with_file)
                for text, with_file in said
            )
        )
    else:
        rows = (row(text, files="a.png" * with_file) for text, with_file in said)
        export = table(*rows, delimiter=delimiter)
    _, found, notes = read(place, export)
    kept = [(text, with_file) for text, with_file in said if text.startswith("a")]
    assert [m.text for m in found] == [text for text, _ in kept]
    assert notes.left_out.total() == len(said) - len(kept)
    assert notes.changed.total() == sum(with_file for _, with_file in kept)


@pytest.mark.parametrize("first", [["1", "2"], ["1", "1", "2", "3", "3"]])
@pytest.mark.parametrize("newest_first", [False, True])
def test_messages_come_in_order_of_time(place: Path, first: list[str], newest_first: bool) -> None:
    said = [(f"{number}", f"2023-10-01T12:0{minute}:00Z") for number, minute in enumerate(first)]
    written = said[::-1] if newest_first else said
    as_json = channel(*(message(text, timestamp=time) for text, time in written))
    as_csv = table(*(row(text, time) for text, time in written))
    for export in (as_json, as_csv):
        _, found, _ = read(place, export)
        assert [m.text for m in found] == [text for text, _ in said]


@pytest.mark.parametrize("missing", ["guild", "channel"])
def test_a_guild_or_channel_may_be_missing(place: Path, missing: str) -> None:
    _, found, _ = read(place, {**channel(message()), missing: None})
    assert [m.text for m in found] == ["Hi"]
