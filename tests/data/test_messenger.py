import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.messenger import READER
from elman.data.source import documents

GOLDEN = Path(__file__).parent / "golden"

MEDIA = "a photo, file or other media without text"
SHARE = "a shared link or post without text"

Said = list[tuple[str, str]]


def garbled(text: str) -> str:
    """As Meta writes it."""
    return text.encode().decode("latin-1")


def message(time: Any, sender: str = "Ann Lee", **more: Any) -> dict[str, Any]:
    return {"sender_name": garbled(sender), "timestamp_ms": time, **more}


def thread(*messages: Any, title: str = "Zoë", people: tuple[str, ...] = ("Ann Lee", "Zoë")) -> Any:
    return {
        "participants": [{"name": garbled(name)} for name in people],
        "messages": list(messages),
        "title": garbled(title),
        "thread_path": "inbox/zoe_1",
    }


def encrypted(*messages: Any, name: str = "Zoë_7") -> Any:
    return {"participants": ["Ann Lee", "Zoë"], "threadName": name, "messages": list(messages)}


def write(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content), "utf-8")
    return folder


def read(folder: Path) -> tuple[list[tuple[str, Said]], Notes]:
    """The id of each chat and what was said in it."""
    notes = Notes()
    found = documents(folder)
    assert all(READER.matches(document.head()) for document in found)
    chats = READER.read(found, notes)
    return [
        (chat.id, [(each.author, each.text) for each in chat.messages]) for chat in chats
    ], notes


def fate(folder: Path, record: dict[str, Any]) -> str:
    """The text of one message, or why it is left out."""
    [(_, messages)], notes = read(write(folder, {"zoe_1/message_1.json": thread(record)}))
    assert len(messages) + notes.left_out.total() == 1
    return messages[0][1] if messages else next(iter(notes.left_out))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"content": "Will do."}, "Will do."),
        ({"content": "Ann Lee named the group Tea."}, "a system line"),
        ({"content": "Ann Lee says no.\nI say yes."}, "Ann Lee says no.\nI say yes."),
        ({"content": "You are right."}, "You are right."),
        ({"content": "You named the group Tea."}, "a system line"),
        ({"content": "Liked a message"}, "a system line"),
        ({"content": "Reacted 👍🏽 to your message "}, "a system line"),
        ({"content": "Paid", "type": "Payment"}, "a system line"),
        ({"content": "Come in", "users": [{"name": "Zoe"}]}, "a system line"),
        ({"content": "Missed", "call_duration": 0}, "a call"),
        ({"content": "Missed", "type": "Call"}, "a call"),
        ({"content": "Oops", "is_unsent": True}, "deleted by its author"),
        ({"content": "Kept", "is_unsent": False, "is_taken_down": False}, "Kept"),
        ({"content": "Gone", "is_taken_down": True}, "taken down by Meta"),
        ({"photos": [{"uri": "1.jpg"}]}, MEDIA),
        ({"sticker": {"uri": "1.png"}}, MEDIA),
        ({"content": "You sent an attachment.", "videos": [{"uri": "1.mp4"}]}, MEDIA),
        ({"content": "Ann Lee a envoyé une pièce jointe.", "share": {"link": "l"}}, SHARE),
        ({"share": {"link": "https://tea.example"}}, SHARE),
        (
            {"content": "Look: https://tea.example", "share": {"link": "l"}},
            "Look: https://tea.example",
        ),
        ({}, "without text"),
        ({"content": None}, "without text"),
        ({"content": "Hi", "sender_name": None}, "without an author"),
    ],
)
def test_what_becomes_of_a_message(tmp_path: Path, more: dict[str, Any], expected: str) -> None:
    if isinstance(more.get("content"), str):
        more = more | {"content": garbled(more["content"])}
    assert fate(tmp_path, message(0) | more) == expected


@pytest.mark.parametrize(
    ("written", "read", "doubtful"),
    [
        ("\u00c3\u00a9", "é", 0),
        ("\u00f0\u009f\u0098\u0082", "😂", 0),
        ("é", "é", 1),
        ("\u00c3", "\u00c3", 1),
        ("😂 é", "😂 é", 0),
        ("plain", "plain", 0),
    ],
)
def test_letters_are_mended_where_that_works(
    tmp_path: Path, written: str, read: str, doubtful: int
) -> None:
    write(tmp_path, {"zoe_1/message_1.json": thread(message(0, content=written))})
    notes = Notes()
    [chat] = READER.read(documents(tmp_path), notes)
    assert [each.text for each in chat.messages] == [read]
    assert notes.changed.total() == doubtful


def test_the_files_of_a_chat_follow_their_times_and_not_their_names(tmp_path: Path) -> None:
    pages = [[9, 8], [7, 6], [5, 4], [3, 3], [2, 1]]
    files = {
        f"zoe_1/message_{number}.json": thread(*(message(time, content=f"{time}") for time in page))
        for number, page in zip([1, 2, 10, 11, 3], pages, strict=True)
    }
    [(name, messages)], _ = read(write(tmp_path, files))
    assert name == "Zoë zoe_1"
    assert [text for _, text in messages] == ["1", "2", "3", "3", "4", "5", "6", "7", "8", "9"]


def test_messages_of_the_same_moment_keep_their_order(tmp_path: Path) -> None:
    page = thread(*(message(5, content=text) for text in "cba"))
    [(_, messages)], _ = read(write(tmp_path, {"zoe_1/message_1.json": page}))
    assert [text for _, text in messages] == ["a", "b", "c"]


def test_chats_that_lie_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    files = {
        "a.json": thread(message(1, content="one")),
        "b.json": thread(message(2, content="two"), people=("Ann Lee", "Bo"), title="Bo"),
        "c.json": encrypted({"senderName": "Zoë", "timestamp": 3, "text": "é", "type": "text"}),
        "d.json": encrypted({"senderName": "Zoë", "timestamp": 4, "text": "4", "type": "text"}),
    }
    found, notes = read(write(tmp_path / "all", files))
    assert [name for name, _ in found] == ["Zoë all", "Bo all", "Zoë_7", "Zoë_7"]
    assert [texts for _, texts in found] == [
        [("Ann Lee", "one")],
        [("Ann Lee", "two")],
        [("Zoë", "é")],
        [("Zoë", "4")],
    ]
    assert not notes.changed


@pytest.mark.parametrize("page", [thread(), thread() | {"messages": 5}, encrypted()])
def test_a_chat_without_messages_is_a_file_left_out(tmp_path: Path, page: Any) -> None:
    found, notes = read(write(tmp_path, {"zoe_1/message_1.json": page}))
    assert (found, notes.files.total()) == ([], 1)


@pytest.mark.parametrize(
    ("broken", "problem", "got"),
    [
        ("Hi", "each message to be an object", '"Hi"'),
        (None, "each message to be an object", "nothing"),
        ({"content": ["Hi"]}, "'content' to be text", '["Hi"]'),
        ({"sender_name": {"name": "Ann"}}, "'sender_name' to be text", '{"name": "Ann"}'),
    ],
)
def test_an_odd_message_is_left_out_and_counted(
    tmp_path: Path, broken: Any, problem: str, got: str
) -> None:
    good = message(2, content="Hi")
    odd = good | broken if isinstance(broken, dict) else broken
    write(tmp_path, {"zoe_1/message_1.json": thread(good, odd, good)})
    [(_, messages)], notes = read(tmp_path)
    assert messages == [("Ann Lee", "Hi")] * 2
    assert notes.left_out == {f"expected {problem}": 1}
    assert notes.first[f"expected {problem}"].endswith(f"message_1.json: item 2, got {got}")


@pytest.mark.parametrize(("time", "changed"), [("soon", 1), (10**18, 1), ([], 1), (None, 0)])
def test_a_message_without_a_time_stays_where_it_stood(
    tmp_path: Path, time: Any, changed: int
) -> None:
    page = [message(number, content=f"{number}") for number in (4, 3, 2, 1)]
    page[1]["timestamp_ms"] = time
    write(tmp_path, {"zoe_1/message_1.json": thread(*page)})
    notes = Notes()
    [chat] = READER.read(documents(tmp_path), notes)
    found = list(chat.messages)
    assert [each.text for each in found] == ["1", "2", "3", "4"]
    assert [each.time is None for each in found] == [False, False, True, False]
    assert (notes.left_out.total(), notes.changed.total()) == (0, changed)


def test_a_page_whose_first_message_is_odd_is_put_in_order(tmp_path: Path) -> None:
    files = {
        "zoe_1/message_1.json": thread(None, message(2, content="2")),
        "zoe_1/message_2.json": thread(message("?", content="1b"), message(1, content="1")),
    }
    [(_, messages)], _ = read(write(tmp_path, files))
    assert [text for _, text in messages] == ["1", "1b", "2"]


BY_META = [
    'Bo voted for "Sea" in the poll.',
    'Bo removed their vote for "Sea" and 2 other options in the poll.',
    'Bo added "Hills" to the poll.',
    "Bo created a poll: Where to?",
    "Bo's poll has multiple updates.",
    "Bo missed your video call.",
    "This poll is no longer available.",
    "The video chat ended.",
    "Missed audio call",
    "You missed a call from Bo",
    "You pinned a message.",
    "Will pinned a message.",
    "Will unsent a message",
    "Will liked a message",
    "Will reacted 😂 to your message",
    "Will changed the theme to Love.",
    "Will set the nickname for Bo to B.",
    "Will set their own nickname to W.",
    "Will cleared the nickname for Bo.",
    "Will set the emoji to 🍵.",
    "Will started a video chat",
    "Will joined the call.",
    "Will left the group.",
    "Will added Bo to the group.",
    "Will changed the group photo.",
    "Liked a message",
    "Reacted ❤ to your message ",
    "Gefällt eine Nachricht",
    "Hat mit 😂 auf deine Nachricht reagiert ",
    "Le ha gustado un mensaje",
    "Reaccionó con 😂 a tu mensaje ",
    "A aimé un message",
    "A réagi 😂 à votre message ",
    'Ha messo "Mi piace" a un messaggio',
    "Curtiu uma mensagem",
    "Reagiu com 😂 à sua mensagem ",
]
BY_PEOPLE = [
    "Will do.",
    "Will you set the table?",
    "Will pinned it to the wall.",
    "Bo pinned a message.",
    "Bo left the group.",
    "You turned off the oven.",
    "You changed the theme? I like it",
    "You responded well to that.",
    "I liked a message of yours",
    "The poll is open",
    "She created a poll: where to?",
    "Gefällt mir, deine Nachricht",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [(text, "a system line") for text in BY_META] + [(text, text) for text in BY_PEOPLE],
)
def test_what_meta_writes_in_the_name_of_one_word(tmp_path: Path, text: str, expected: str) -> None:
    record = message(0, "Will", content=garbled(text))
    write(tmp_path, {"bo_1/message_1.json": thread(record, people=("Will", "Bo"))})
    [(_, messages)], notes = read(tmp_path)
    assert [said for _, said in messages] + list(notes.left_out) == [expected]


START, MINUTE = 1_700_000_000_000, 60_000  # in milliseconds


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (["See you at too", "See you at two (edited)"], ["See you at two"]),
        (["Hi", "Tea at for", "Cake", "Tea at four (edited)"], ["Hi", "Tea at four", "Cake"]),
        (["a b", "a b c (edited)", "a b c d (Bearbeitet)"], ["a b c d"]),
        (["Sure", "Sure 😭 (edited) "], ["Sure 😭"]),
        (["Yes", "Yes, and I bring a big cake (edited)"], ["Yes, and I bring a big cake"]),
        (["Only this (edited)"], ["Only this"]),
        (["Good night", "Wer kommt? (edited)"], ["Good night", "Wer kommt?"]),
        (["Tea at four", "Tea at five"], ["Tea at four", "Tea at five"]),
        (["(edited)", "That was (edited) by me"], ["(edited)", "That was (edited) by me"]),
    ],
)
def test_an_edited_message_is_one_message(tmp_path: Path, sent: list[str], kept: list[str]) -> None:
    page = [
        message(START + number * MINUTE, content=garbled(text)) for number, text in enumerate(sent)
    ]
    write(tmp_path, {"zoe_1/message_1.json": thread(*reversed(page))})
    [(_, messages)], notes = read(tmp_path)
    assert [text for _, text in messages] == kept
    assert len(messages) + notes.left_out.total() == len(sent)
    assert set(notes.left_out) <= {"an earlier version of an edited message"}


def test_an_edit_stands_where_the_message_was_and_leaves_others_alone(tmp_path: Path) -> None:
    page = [
        message(START, content="Tee?"),
        message(START + 1 * MINUTE, "Zoë", content="Tee"),
        message(START + 2 * MINUTE, content="Tea? (edited)"),
        message(START + 30 * MINUTE, content="Tea! (edited)"),
    ]
    write(tmp_path, {"zoe_1/message_1.json": thread(*reversed(page))})
    notes = Notes()
    [chat] = READER.read(documents(tmp_path), notes)
    found = [
        (each.author, each.text, ((each.seconds or 0) - START / 1000) // 60)
        for each in chat.messages
    ]
    assert found == [("Ann Lee", "Tea?", 0), ("Zoë", "Tee", 1), ("Ann Lee", "Tea!", 30)]


def test_files_of_other_formats_are_left_to_their_readers() -> None:
    others = [
        file for file in GOLDEN.rglob("*") if file.is_file() and "messenger" not in file.parts
    ]
    assert others
    assert not [file for file in others if READER.matches(Document("talk", file).head())]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PEOPLE = ["Ann Lee", "Zoë", "עדה"]
LEFT_OUT: list[dict[str, Any]] = [
    {"is_unsent": True},
    {"call_duration": 3},
    {"photos": [{"uri": "1.jpg"}]},
    {"type": "Subscribe", "users": [{"name": "Bo"}]},
]


@given(
    records=st.lists(st.tuples(st.sampled_from(PEOPLE), TEXTS, st.sampled_from([{}, *LEFT_OUT]))),
    page=st.integers(1, 5),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_message_is_kept_or_counted(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[tuple[str, str, dict[str, Any]]],
    page: int,
) -> None:
    written = [
        message(time, author, **more) | ({} if more else {"content": garbled(text)})
        for time, (author, text, more) in enumerate(records)
    ]
    written.reverse()
    pages = [written[start : start + page] for start in range(0, len(written), page)]
    files = {f"zoe_1/message_{number}.json": thread(*each) for number, each in enumerate(pages, 1)}
    folder = tmp_path_factory.mktemp("messenger")
    found, notes = read(write(folder, files or {"zoe_1/message_1.json": thread()}))
    kept = [(author, text) for author, text, more in records if not more and text.strip()]
    assert sum(len(messages) for _, messages in found) + notes.left_out.total() == len(records)
    assert [each for _, messages in found for each in messages] == kept
