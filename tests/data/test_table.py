import csv
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import Chat, Conversation, Message
from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers import MAX_MESSAGE_CHARS
from elman.data.readers.reader import Reader
from elman.data.readers.registry import READERS
from elman.data.readers.timestamps import is_newest_first
from elman.errors import ElmanError

Load = Callable[[str | bytes], tuple[list[Conversation], Notes]]
TABLE = READERS["csv"]


@pytest.fixture(scope="session")
def load(load_conversations: Callable[..., tuple[list[Conversation], Notes]]) -> Load:
    return lambda content: load_conversations(content, "csv", gap=3600)


def said(conversations: list[Conversation]) -> list[list[tuple[str, str]]]:
    return [[(m.author, m.text) for m in each.messages] for each in conversations]


@pytest.mark.parametrize(
    "header",
    [
        "author,text",
        "Sender;Message Text;Zeit",
        "id\tUSER_NAME\tcreated-at\tMSG",
        "from | body",
        "\ufeff\n \nsep=;\nname;content\n",
        "tweet_id,author_id,inbound,created_at,text,response_tweet_id,in_response_to_tweet_id",
        '"Speaker","Utterance"\r\nA,B',
        "role,content\rA,B",
    ],
)
def test_a_header_is_recognised(header: str) -> None:
    assert TABLE.matches(header)


@pytest.mark.parametrize(
    "head",
    [
        "",
        "\n\n\0",
        "author: text",
        "Author, who wrote this text, is a user of content",
        "The name, the message, and the time",
        "author text",
        "text,author_of_it",
        "message_id,author_id,date",
        "A,Hi\nauthor,text",
        '{"author": 1,"text": 2}',
        "author,text: Hi",
        "a" * 70_000,
        '"author,text',
        'author,"text\nA,Hi',
    ],
)
def test_what_is_no_header(head: str) -> None:
    assert not TABLE.matches(head)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2021-03-01", datetime(2021, 3, 1)),
        ("2021-03-01T10:20:30Z", datetime(2021, 3, 1, 10, 20, 30, tzinfo=UTC)),
        ("2021-03-01 10:20:30.5+02:00", datetime(2021, 3, 1, 8, 20, 30, 500_000, tzinfo=UTC)),
        ("2021-03-01 10:20:30 UTC", datetime(2021, 3, 1, 10, 20, 30, tzinfo=UTC)),
        ("2021-03-01 10:20 -0330", datetime(2021, 3, 1, 13, 50, tzinfo=UTC)),
        ("2021/3/1 10:20", datetime(2021, 3, 1, 10, 20)),
        ("1614594030", datetime(2021, 3, 1, 10, 20, 30, tzinfo=UTC)),
        ("1614594030.25", datetime(2021, 3, 1, 10, 20, 30, 250_000, tzinfo=UTC)),
        ("1614594030250", datetime(2021, 3, 1, 10, 20, 30, 250_000, tzinfo=UTC)),
        ("1614594030250000", datetime(2021, 3, 1, 10, 20, 30, 250_000, tzinfo=UTC)),
        ("31/3/2021, 12:20 am", datetime(2021, 3, 31, 0, 20)),
        ("3/31/21 12:20 P.M.", datetime(2021, 3, 31, 12, 20)),
        ("31.03.2021 23:20:30,123", datetime(2021, 3, 31, 23, 20, 30, 123_000)),
        ("31 Mar 2021", datetime(2021, 3, 31)),
        ("Mon, 1 Mar 2021 10:20:30 +0100", datetime(2021, 3, 1, 9, 20, 30, tzinfo=UTC)),
        ("Mon Mar  1 10:20:30 2021", datetime(2021, 3, 1, 10, 20, 30)),
        ("Mon Mar 01 10:20:30 +0000 2021", datetime(2021, 3, 1, 10, 20, 30, tzinfo=UTC)),
        ("March 1, 2021 at 10:20 PM GMT", datetime(2021, 3, 1, 22, 20, tzinfo=UTC)),
        ("1-Sept-2021 10:20", datetime(2021, 9, 1, 10, 20)),
        ("\u0663\u0661/\u0663/\u0662\u0660\u0662\u0661", datetime(2021, 3, 31)),
        ("Mon, 1 Mud 2021", None),
        ("31/31/2021", None),
        ("2021-02-30 10:20", None),
        ("1/3/2021 13:20 pm", None),
        ("1/3/2021 0:20 am", None),
        ("10:20", None),
        ("12345", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("9999-12-31 23:00 -0200", None),
        ("yesterday", None),
    ],
)
def test_times(load: Load, time: str, expected: datetime | None) -> None:
    [conversation], notes = load(f"author\ttext\ttime\nA\tHi\t{time}\nB\tHello\t\n")
    assert conversation.messages[0].time == expected
    assert notes.changed.total() == (expected is None)
    if expected is not None:
        assert conversation.messages[0].time.tzinfo == expected.tzinfo  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("dates", "months"),
    [
        (["1/2/2021", "13/2/2021"], [2, 2]),
        (["1/2/2021", "2/13/2021"], [1, 2]),
        (["1/2/2021", "2/2/2021", "2/3/2021"], [2, 2, 3]),
        (["2/1/2021", "2/2/2021", "3/1/2021"], [2, 2, 3]),
        (["5/6/2021", "5/6/2021"], [6, 6]),
        (["5/6/2021 1:00 PM", "5/6/2021 1:30 PM"], [5, 5]),
        (["5.6.2021 1:00 PM", "5.6.2021 1:30 PM"], [6, 6]),
        (["5/1/2021 1:00 PM", "6/1/2021 1:30 PM", "1/2/2021 1:00 PM"], [1, 1, 2]),
        (["12/1/2020", "1/2/2021"], [1, 2]),
    ],
)
def test_the_whole_table_says_what_comes_first(
    load: Load, dates: list[str], months: list[int]
) -> None:
    rows = [f"{'AB'[i % 2]},Hi,{date}" for i, date in enumerate(["", *dates, ""])]
    document = "\n".join(["author,text,date", "too few", *rows])
    conversations, _ = load(document)
    times = [m.time for each in conversations for m in each.messages if m.time]
    assert [time.month for time in times] == months


def test_a_table_of_a_date_and_a_time(load: Load) -> None:
    [conversation], _ = load("time,date,author,text\n10:20,31/3/2021,A,Hi\n9:00 PM,,B,Hello")
    assert [m.time for m in conversation.messages] == [datetime(2021, 3, 31, 10, 20), None]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_line_ends(load: Load, end: str) -> None:
    [conversation], _ = load(end.join(["author,text", 'A,"Hi', "", 'there"', "", "B,Hello", ""]))
    assert [m.text for m in conversation.messages] == ["Hi\n\nthere", "Hello"]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ('A,Hi\nB,"Hello\nA,Hi\n', "talk: line 3: it goes on to the end of the file; is a quot"),
        ('A,Hi\n\nB,"Hello\n"",', "talk: line 4: it goes on to the end"),
        (f'A,"{"x" * (1 << 20)}{"y" * 9}"', "talk: line 2: .*; is a quotation mark never closed?"),
        ('"A","Hi"\nB,"' + "Hello\n" * 200_000, "talk: line 3: "),
    ],
)
def test_an_open_quotation_mark_is_refused(load: Load, rows: str, problem: str) -> None:
    with pytest.raises(ElmanError, match=problem):
        load(f"author,text\n{rows}")


def test_long_texts_are_no_error(load: Load) -> None:
    [conversation], _ = load(f"author,text\nA,{'x' * 900_000}\nB,\0\n")
    assert [len(m.text) for m in conversation.messages] == [MAX_MESSAGE_CHARS, 1]


def test_where_rows_are_left_out(load: Load) -> None:
    rows = ["A,1,Hi", 'A,1,"', 'more"', "B", "B,1,Hello,more,,", "B,1,", ",1,Hi"]
    [conversation], notes = load("author,when,text\n" + "\n".join(rows))
    assert said([conversation]) == [[("A", "Hi"), ("A", "\nmore"), ("B", "Hello,more,,")]]
    assert {reason: where.rpartition(" ")[2] for reason, where in notes.first.items()} == {
        "a time of no known form taken off": "2",
        "a row with too few fields": "5",
        "their last fields taken as one text": "6",
        "empty": "7",
        "a row without an author": "8",
    }


@pytest.mark.parametrize("word", ["conversation_id", "Ticket", "session name", "chat", "channel"])
def test_conversations(load: Load, word: str) -> None:
    rows = ["1,A,a", "1,B,b", "2,A,c", "2,B,d", "1,A,e", "1,B,f", ",A,g", ",B,h"]
    conversations, _ = load(f"{word},user,text\n" + "\n".join(rows))
    texts = ["".join(m.text for m in each.messages) for each in conversations]
    assert texts == ["ab", "cd", "ef", "gh"]
    assert len({each.id for each in conversations}) == 4
    assert [each.id[:1] for each in conversations[:3]] == ["1", "2", "1"]


def test_a_chat_is_cut_where_people_paused_and_a_conversation_is_not(load: Load) -> None:
    rows = [f"x,{'AB'[hour % 2]},Hi,2021-03-01 {hour:02}:00" for hour in (1, 2, 8, 9)]
    for word, count in (("room", 2), ("dialog", 1)):
        assert len(load(f"{word},author,text,time\n" + "\n".join(rows))[0]) == count


def test_an_endless_table_is_read_as_it_comes() -> None:
    class Endless(Document):
        def head(self, size: int = 0) -> str:
            return "author,text\n"

        def lines(self) -> Iterator[tuple[int, str]]:
            yield 1, "author,text"
            yield from ((n, "AB"[n % 2] + ",Hi") for n in range(2, 10**9))

    assert isinstance(TABLE, Reader)
    [chat] = TABLE.read(Endless("talk", Path()), Notes())
    assert isinstance(chat, Chat)
    assert next(iter(chat.messages)) == Message("A", "Hi")


plain = st.text().filter(lambda text: text.strip() and not set(text) & set("\r"))
people = st.sampled_from(["Mira", "Tobin: the 2nd", "مريم", 'O"Hara, Pat', "👩‍🔧"])
moments = st.none() | st.integers(10**9, 2 * 10**9).map(
    lambda seconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
rows = st.lists(
    st.tuples(st.sampled_from("xyz"), people | st.just(""), plain | st.just(" "), moments)
)


@given(rows, st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.data())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_every_row_is_kept_or_counted(
    load: Load,
    rows: list[tuple[str, str, str, datetime | None]],
    delimiter: str,
    end: str,
    epoch: bool,
    data: Any,
) -> None:
    rows = [("x", "Mira", "Hi", None), ("x", "Tobin: the 2nd", "Hello", None), *rows]
    names = data.draw(st.permutations(["dialog", "author", "text", "time", "mood"]))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    for name, author, text, time in rows:
        written = "" if time is None else str(int(time.timestamp())) if epoch else time.isoformat()
        writer.writerow({"dialog": name, "author": author, "text": text, "time": written})
    conversations, notes = load(file.getvalue())
    kept = [row for row in rows if row[1] and row[2].strip()]
    talks = [
        [Message(*row[1:]) for row in group] for _, group in groupby(kept, key=lambda row: row[0])
    ]
    backwards = is_newest_first(message for talk in talks for message in talk)
    talks = [talk[::-1] if backwards else talk for talk in talks]
    answered = [talk for talk in talks if len({m.author for m in talk}) > 1]
    assert [list(each.messages) for each in conversations] == answered
    assert notes.left_out.total() == len(rows) - sum(map(len, answered))
    assert not notes.changed


@pytest.mark.parametrize("column", ["", "chat,", "thread,"])
def test_a_table_that_begins_with_the_newest_is_turned_around(load: Load, column: str) -> None:
    rows = [
        f"{column and 'x,'}{who},{who}{day},0{day}/04/2021 10:00"
        for day in (5, 6, 7)
        for who in "ab"
    ]
    text = "\n".join([f"{column}author,text,date", *reversed(rows)])
    found, _ = load(text)
    assert [text for each in said(found) for _, text in each] == [
        "a5",
        "b5",
        "a6",
        "b6",
        "a7",
        "b7",
    ]
