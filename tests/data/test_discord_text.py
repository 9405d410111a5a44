from collections.abc import Callable
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import Message
from elman.data.notes import Notes
from elman.data.readers.discord_text import READER

RULE = "=" * 62
START = f"{RULE}\nGuild: Tea\nChannel: kitchen\n{RULE}\n\n"
END = f"{RULE}\nExported 2 message(s)\n{RULE}\n"
Load = Callable[[str], tuple[list[Message], Notes]]


@pytest.fixture(scope="session")
def load(
    load_chat: Callable[..., tuple[list[Message], Notes]],
) -> Callable[..., tuple[list[Message], Notes]]:
    return lambda text, start=START: load_chat(start + text, "discord-text", "Tea/kitchen")


@pytest.mark.parametrize(
    "head",
    [
        "",
        RULE,
        f"{RULE}\nHello\n",
        f"{RULE}\nGuild: Tea\n",
        f"Hello\n{START}",
        "[05-Oct-18 12:08 PM] mira\nHi\n",
    ],
)
def test_other_texts_are_not_taken(head: str) -> None:
    assert not READER.matches(head)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_old_and_new_headings(load: Load, newline: str) -> None:
    for heading in (
        ["Guild: Tea", "Channel: kitchen", "Topic: a", "b", "After: 1/1/2023 0:00"],
        ["Guild:    Tea", "Channel:  kitchen", "Topic:", "Messages: 1", "Range:    1/1/23 ->"],
    ):
        text = newline.join([RULE, *heading, RULE, "", "[1/2/2023 13:00] mira", "Hi", "", ""])
        [found], notes = load(text, "")  # type: ignore[call-arg]
        assert found == Message("mira", "Hi", datetime(2023, 2, 1, 13))
        assert not notes.lines()


@pytest.mark.parametrize(
    ("below", "text", "left_out", "changed"),
    [
        ("Hi\n\n", "Hi", 0, 0),
        ("Hi\n\n\nthere\n\n", "Hi\n\n\nthere", 0, 0),
        ("Hi\n\n{Attachments}\na.png\nb.png\n\n\n", "Hi", 0, 1),
        ("Hi\n\n{Embed}\nA page\n\n{Reactions}\nx (2)\n\n", "Hi", 0, 0),
        ("\n{Embed}\nhttps://a.example\nTitle\nWords\n\n\n", "Title\nWords", 0, 1),
        ("\n\n{Embed}\nhttps://a.example/x\n\n", None, 1, 0),
        ("\n{Attachment}\nhttps://a.example/a.png\n\n", None, 1, 0),
        ("\n\n{Stickers}\na\n\n{Reactions}\nx\n\n", None, 1, 0),
        ("\n\n{Forwarded Message}\nHi\n\n", None, 1, 0),
        ("\n\n", None, 1, 0),
        ("Joined the server.\n\n", None, 1, 0),
        ("[joke] hello\n\n[edit] bye\n\n", "[joke] hello\n\n[edit] bye", 0, 0),
        ("a {Embed} b\n\n", "a {Embed} b", 0, 0),
        ("Hi\nhttps://cdn.discordapp.com/attachments/1/2/a.png\n\n", "Hi", 0, 1),
        ("https://cdn.discordapp.com/attachments/1/2/a.png\n\n", None, 1, 0),
        ("https://tea.example/a.png\n\n", "https://tea.example/a.png", 0, 0),
        ("Hi\n\nbo [1/2/2023 13:00]\n\n", "Hi\n\nbo [1/2/2023 13:00]", 0, 0),
        (f"{RULE}\nHi\n\n", f"{RULE}\nHi", 0, 0),
    ],
)
def test_what_stands_below_a_name(
    load: Load, below: str, text: str | None, left_out: int, changed: int
) -> None:
    found, notes = load(f"[1/2/2023 13:00] mira (pinned)\n{below}[1/2/2023 13:01] bo\nyes\n\n{END}")
    assert [(m.author, m.text) for m in found] == [("mira", text)] * (text is not None) + [
        ("bo", "yes")
    ]
    assert (notes.left_out.total(), notes.changed.total()) == (left_out, changed)
    assert all(where == "talk: line 6" for where in notes.first.values())


def test_at_first_the_name_stood_before_the_date(load: Load) -> None:
    found, notes = load(
        "mira#0001 [5-Oct-17 12:08 PM]\nHi\nthere\n\nbo#1 #0002 [5-Oct-17 12:09 PM]\nyes\n"
    )
    assert [(m.author, m.text) for m in found] == [("mira", "Hi\nthere"), ("bo#1", "yes")]
    assert not notes.lines()


def test_numbers_of_accounts_are_left_where_they_tell_something(load: Load) -> None:
    names = ["mira#0001", "bo#0002", "mira#0003", "mira#0001", "#1234", "deleted user"]
    found, _ = load("".join(f"[1/2/2023 13:00] {name}\nHi\n\n" for name in names))
    assert [m.author for m in found] == ["mira", "bo", "mira#0003", "mira", "#1234", "deleted user"]


def test_a_date_of_no_known_form_is_taken_off_and_counted(load: Load) -> None:
    found, notes = load("[5 x 2023 y 13 z 00] mira\nHi\n\n[1/2/2023 13:00] bo\nyes\n\n")
    assert [(m.author, m.time) for m in found] == [("mira", None), ("bo", datetime(2023, 2, 1, 13))]
    assert notes.changed == {"a time of no known form taken off": 1}


def test_stray_lines_are_counted(load: Load) -> None:
    found, notes = load(f"Hello\n\n[1/2/2023 13:00] mira\nHi\n\n{RULE}\nGuild: x\nHi\n")
    assert [m.text for m in found] == ["Hi"]
    assert notes.left_out == {
        "no date and name before them": 1,
        "in a heading that does not end": 2,
    }


def test_two_exports_in_one_file_are_read(load: Load) -> None:
    part = f"[1/2/2023 13:00] mira\nHi\n\n\n{END}"
    found, notes = load(part + START + part)
    assert [m.text for m in found] == ["Hi", "Hi"]
    assert not notes.lines()


lines = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])).filter(
    lambda line: not line.startswith(("{", "[", "==", "\ufeff"))
)
texts = st.lists(lines, min_size=1).map("\n".join)
times = st.datetimes(datetime(2001, 1, 1), datetime(2068, 1, 1))


@given(st.lists(st.tuples(st.sampled_from(["mira", "bo", "a b"]), texts, times)))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_messages_are_kept_or_counted(load: Load, said: list[tuple[str, str, datetime]]) -> None:
    said.sort(key=lambda each: each[2])
    text = "".join(f"[{time:%d-%b-%y %I:%M %p}] {who}\n{what}\n\n\n" for who, what, time in said)
    found, notes = load(text + END)
    kept = [
        (who, what.strip("\n"), time.replace(second=0, microsecond=0))
        for who, what, time in said
        if what.strip()
    ]
    assert [tuple(message) for message in found] == kept
    assert notes.left_out.total() == len(said) - len(kept)


def test_messages_come_in_order_of_time(load: Load) -> None:
    text = "".join(f"[01-Oct-23 12:0{minute} PM] mira\n{minute}\n\n\n" for minute in (3, 2, 2, 1))
    found, _ = load(text + END)
    assert [m.text for m in found] == ["1", "2", "2", "3"]
