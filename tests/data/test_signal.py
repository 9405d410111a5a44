import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import Chat, Message
from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.signal import READER

Load = Callable[[str], tuple[list[Message], Notes]]


@pytest.fixture(scope="session")
def load(load_chat: Callable[..., tuple[list[Message], Notes]]) -> Load:
    return lambda text: load_chat(text, "signal", "talk")


def markdown(*said: tuple[str, str]) -> str:
    return "".join(
        f"[2021-03-01 10:00:0{n}] {who}: {text}  \n\n" for n, (who, text) in enumerate(said)
    )


def row(body: Any = "Hi", sender: Any = "Mira", **more: Any) -> str:
    beside: dict[str, Any] = {"quote": "", "sticker": None, "reactions": [], "attachments": []}
    return json.dumps(
        {"date": "2021-03-01T10:00:00", "sender": sender, "body": body} | beside | more
    )


@pytest.mark.parametrize(
    ("head", "known"),
    [
        ("[2021-03-01 10:00:00] Me: Hi", True),
        ("\ufeff[2021-03-01, 10:00] Mira: Hi  \r\n", True),
        ("[2021-03-01 10:00] Mira: Hi\n[2021-03-01 10:00] Me: Ho\n", True),
        ("[2021-03-01 10:00:00] No-Sender:   \n", True),
        (row(), True),
        (f"[{row()}]", True),
        ("[2021-03-01, 10:00:00] Mira: Hi  \n", False),
        ("[2021-03-01 10:00:00] Mira: Hi\n", False),
        ("[2021-03-01 10:00:00] Me: \u200eimage omitted\n", False),
        ("[01.03.21, 10:00:00] Me: Hi  \n", False),
        ("Me: Hi  \n", False),
        ('{"date": 1, "sender": "a", "body": "b"}', False),
        ("", False),
    ],
)
def test_exports_are_known(head: str, known: bool) -> None:
    assert READER.matches(head) == known


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Hi", "Hi"),
        ("two\nlines", "two\nlines"),
        ("one:\n\n- a\n- b", "one:\n\n- a\n- b"),
        ("\n\n> quoted\n> more\n\nHi", "Hi"),
        ("\n>\n> quoted\n>\nHi", "Hi"),
        ("Hi > there\n> you", "Hi > there\n> you"),
        ("Hi  \n(- Me: 👍, Bo: ❤️ -)", "Hi"),
        ("Hi (- Me: 👍 -)", "Hi"),
        ("Hi![a.jpg](./media/a.jpg)  [b (1).ogg](./media/b%20(1).ogg)", "Hi"),
        ("Hi\n(( 🙂 ))", "Hi"),
        ("see [this](https://tea.example)", "see [this](https://tea.example)"),
        ("(- sad -)", "(- sad -)"),
        ("Outgoing call me", "Outgoing call me"),
        ("![a](./media/a.jpg)", None),
        ("[🙂](../exported_stickers/p/1.webp)", None),
        ("(( sticker ))", None),
        ("(- Me: 👍 -)", None),
        ("", None),
        ("(This message was deleted)", None),
        ("Incoming call", None),
        ("Missed voice call", None),
        ("Outgoing video call (accepted, 1m 2s)", None),
    ],
)
def test_markdown(load: Load, text: str, kept: str | None) -> None:
    found, notes = load(markdown(("Mira", text), ("Me", "Yes")))
    assert [(m.author, m.text) for m in found] == [("Mira", kept)] * (kept is not None) + [
        ("Me", "Yes")
    ]
    assert notes.left_out.total() == (kept is None)
    assert notes.changed.total() == (kept is not None and kept != text)
    assert set(notes.first.values()) <= {"talk: line 1"}


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (row(), "Hi"),
        (row("a\nb  "), "a\nb"),
        (row(quote="\n\n> x\n\n", reactions=[["a", "b"]]), "Hi"),
        (row(attachments=[{"name": "a", "path": "b"}], sticker={"emoji": "x"}), "Hi"),
        (row("Incoming call", call=False), "Incoming call"),
        (row("Incoming call"), None),
        (row("Anything", call=True), None),
        (row("Hi", deleted=True), None),
        (row(""), None),
        (row(None), None),
        (row(5), None),
        (row(sender=None), None),
        (row("", attachments=[{"name": "a"}]), None),
    ],
)
def test_json(load: Load, line: str, kept: str | None) -> None:
    found, notes = load(f"{line}\n{row('Yes', 'Me')}\n")
    assert [m.text for m in found] == [kept] * (kept is not None) + ["Yes"]
    assert notes.left_out.total() == (kept is None)


def test_times(load: Load) -> None:
    [one], _ = load("[2021-03-01, 10:00] Me: Hi\n")
    assert one.time == datetime(2021, 3, 1, 10)
    [one], _ = load(row(date="2021-03-01T10:00:00.5+02:00"))
    assert one.time == datetime(2021, 3, 1, 8, 0, 0, 500000, tzinfo=UTC)
    [one], notes = load(row(date=None))
    assert one.time is None
    assert notes.changed == {"a time of no known form taken off": 1}
    [one], notes = load("[2021-13-01 10:00:00] Me: Hi\n")
    assert one.time is None


def test_stray_lines_before_the_first_message_are_counted(tmp_path: Path) -> None:
    (tmp_path / "talk").write_text("\n\nHi\n[2021-03-01 10:00:00] Me: Hi\n")
    notes = Notes()
    [chat] = READER.read([Document("talk", tmp_path / "talk")], notes)
    assert isinstance(chat, Chat)
    assert [m.text for m in chat.messages] == ["Hi"]
    assert notes.left_out == {"no date before them": 1}


def test_any_number_of_files_may_end_a_message(load: Load) -> None:
    files = "[a](./media/a)  " * 50_000
    found, notes = load(f"[2021-03-01 10:00:00] Me: Hi {files}\n")
    assert [m.text for m in found] == ["Hi"]
    assert notes.changed.total() == 1


def test_a_chat_that_is_there_twice_is_read_once(tmp_path: Path) -> None:
    first = ("Mira", "Hi")
    files = {
        "a/data.json": row("Hi") + "\n" + row("Yes", "Me"),
        "a/chat.md": markdown(first, ("Me", "Yes")),
        "a/other.md": markdown(("Me", "Hi")),
        "b/chat.md": markdown(first),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    notes = Notes()
    found = READER.read([Document(name, tmp_path / name) for name in files], notes)
    chats = {chat.id: len(list(chat.messages)) for chat in found if isinstance(chat, Chat)}
    assert chats == {"a": 2, "other": 1, "b": 1}
    assert notes.files == {"a chat of Signal that is there as JSON as well": 1}
    assert list(notes.first.values()) == ["a/chat.md"]


letters = st.characters(
    exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters=">()[]\u200e"
)
texts = st.lists(st.text(letters), min_size=1).map("\n".join)


@given(st.lists(st.tuples(st.sampled_from(["Me", "Mira", "No-Sender"]), texts)), st.booleans())
@settings(max_examples=80, deadline=None, derandomize=True)
def test_messages_are_kept_or_counted(
    load: Load, said: list[tuple[str, str]], as_json: bool
) -> None:
    said = [("Me", "Hi"), *said]
    if as_json:
        text = "\n".join(row(what, who) for who, what in said)
    else:
        text = "".join(f"[2021-03-01 10:00:00] {who}: {what}  \n\n" for who, what in said)
    found, notes = load(text)
    kept = [(who, bare(what)) for who, what in said if what.strip()]
    assert [(m.author, bare(m.text)) for m in found] == kept
    assert notes.left_out.total() == len(said) - len(kept)


def bare(text: str) -> str:
    """Without the spaces with which Markdown ends lines."""
    return "\n".join(line.rstrip(" ") for line in text.split("\n")).strip()
