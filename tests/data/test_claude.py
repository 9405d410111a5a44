import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import Conversation
from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.claude import READER
from elman.data.readers.registry import READERS, find_reader

Load = Callable[..., tuple[list[Conversation], Notes]]
ROOT = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    path = tmp_path_factory.mktemp("claude") / "talk"

    def load(*said: Any, **more: Any) -> tuple[list[Conversation], Notes]:
        path.write_text(json.dumps([{"uuid": "c", "name": "Tea", "chat_messages": said, **more}]))
        document, notes = Document("talk", path), Notes()
        assert find_reader(document) is READERS["claude"]
        found = READER.read(document, notes)
        return [each for each in found if isinstance(each, Conversation)], notes

    return load


def message(sender: Any = "human", text: Any = "Hi", **more: Any) -> dict[str, Any]:
    return {"sender": sender, "text": text, "created_at": "2025-03-01T10:00:00Z", **more}


def block(text: Any, kind: str = "text") -> dict[str, Any]:
    return {"type": kind, "text": text}


def said(conversations: list[Conversation]) -> list[tuple[str, str]]:
    [conversation] = conversations
    return [(m.author, m.text) for m in conversation.messages]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "Hi"),
        ({"content": None}, "Hi"),
        ({"content": []}, "Hi"),
        ({"content": "Hi"}, "Hi"),
        ({"content": [block("One"), block("Two")]}, "One\nTwo"),
        ({"content": [block("Spoken", "voice_note")]}, "Spoken"),
        ({"content": [{"type": "thinking", "thinking": "Hm"}, block("Yes")]}, "Yes"),
        ({"content": [block("Yes"), {"type": "tool_use", "name": "x", "input": {}}]}, "Yes"),
        ({"content": [None, 5, block(5), block("Yes")]}, "Yes"),
    ],
)
def test_blocks_of_text_are_read(load: Load, more: Any, text: str) -> None:
    found, _ = load(message(**more))
    assert said(found) == [("user", text)]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (message(text="", content=[]), "empty"),
        (
            message(text=" ", attachments=[{"extracted_content": "x"}]),
            "a photo, file or other media",
        ),
        (message(text="", files=[{"file_name": "a"}]), "a photo, file or other media"),
        (message(content=[{"type": "tool_use"}], text="not shown"), "thoughts and tools"),
        (message(sender="system"), "of sender 'system'"),
        (message(sender=5), "expected 'sender' to be text"),
        (message(sender=None), "expected 'sender' to be text"),
        (None, "expected each message to be an object"),
        ("Hi", "expected each message to be an object"),
        ({}, "expected 'sender' to be text"),
    ],
)
def test_what_says_nothing_is_counted(load: Load, record: Any, reason: str) -> None:
    found, notes = load(message(), record, message("assistant", "Hello"))
    assert said(found) == [("user", "Hi"), ("assistant", "Hello")]
    [told] = notes.left_out
    assert told.startswith(reason)
    assert notes.first[told].startswith("talk: item 1")


@pytest.mark.parametrize("time", ["soon", True, "", "0001-01-01T00:00:00+14:00"])
def test_a_time_of_no_known_form_is_taken_off(load: Load, time: Any) -> None:
    [conversation], notes = load(message(created_at=time))
    assert conversation.messages[0].time is None
    assert notes.changed == {"a time of no known form taken off": 1}


@pytest.mark.parametrize("more", [{}, {"current_leaf_message_uuid": "c"}])
def test_of_branches_the_last_one_is_read(load: Load, more: Any) -> None:
    found, notes = load(
        message(text="Tea", uuid="a", parent_message_uuid=ROOT),
        message("assistant", "No", uuid="b", parent_message_uuid="a"),
        message("assistant", "Yes", uuid="c", parent_message_uuid="a"),
        **more,
    )
    assert said(found) == [("user", "Tea"), ("assistant", "Yes")]
    assert notes.left_out == {"on a branch that was not kept": 1}


def test_the_branch_that_the_app_shows_may_be_another(load: Load) -> None:
    found, _ = load(
        message(text="Tea", uuid="a", parent_message_uuid=ROOT),
        message("assistant", "No", uuid="b", parent_message_uuid="a"),
        message("assistant", "Yes", uuid="c", parent_message_uuid="a"),
        current_leaf_message_uuid="b",
    )
    assert said(found) == [("user", "Tea"), ("assistant", "No")]


def test_messages_that_go_round_in_a_circle_end(load: Load) -> None:
    found, _ = load(
        message(uuid="a", parent_message_uuid="b"), message(uuid="b", parent_message_uuid="a")
    )
    assert len(said(found)) == 2


@pytest.mark.parametrize(
    "item", ["null", "5", "{}", '{"chat_messages": null}', '{"chat_messages": {}}']
)
def test_an_odd_conversation_is_left_out_and_the_next_is_read(tmp_path: Path, item: str) -> None:
    good = json.dumps({"uuid": "c", "chat_messages": [message()]})
    (tmp_path / "talk").write_text(f"[{item}, {good}]")
    notes = Notes()
    [conversation] = READER.read(Document("talk", tmp_path / "talk"), notes)
    assert isinstance(conversation, Conversation)
    assert conversation.id == "c"
    [line] = notes.lines()
    assert line.startswith("1 message left out: expected ")
    assert "(first: talk: item 1, got " in line


texts = st.text(st.characters(exclude_categories=["Cs"])).map(str.strip)


@given(st.lists(st.tuples(st.sampled_from(["human", "assistant"]), texts)))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_messages_are_kept_or_counted(load: Load, wanted: list[tuple[str, str]]) -> None:
    found, notes = load(*(message(who, text, content=[block(text)]) for who, text in wanted))
    names = {"human": "user", "assistant": "assistant"}
    assert said(found) == [(names[who], text) for who, text in wanted if text]
    assert notes.left_out.total() == sum(not text for _, text in wanted)
