"""The two kinds of JSON Lines: `messages`, for fine-tuning services, and `turns`, our own."""

import json
from collections.abc import Callable
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import SYSTEM, Conversation
from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers import read

Load = Callable[..., tuple[list[Conversation], Notes]]


@pytest.fixture(scope="session")
def load(load_conversations: Callable[..., tuple[list[Conversation], Notes]]) -> Load:
    return lambda *items: load_conversations("\n".join(map(json.dumps, items)), "messages", "turns")


USER = {"role": "user", "content": "Hi"}
BOT = {"role": "assistant", "content": "Hello"}
CALLS = [{"id": "1", "type": "function", "function": {"name": "kettle", "arguments": "{}"}}]


def test_an_example_with_tools(load: Load) -> None:
    [conversation], notes = load(
        {
            "messages": [
                {"role": "system", "name": "example_user", "content": "Be kind."},
                USER,
                {"role": "assistant", "tool_calls": CALLS},
                {"role": "tool", "tool_call_id": "1", "content": "on"},
                {"role": "assistant", "content": "One moment", "tool_calls": CALLS},
                {"role": "assistant", "content": None, "function_call": {"name": "kettle"}},
                {"role": "function", "name": "kettle", "content": "on"},
                BOT,
            ],
            "tools": [{"type": "function", "function": {"name": "kettle"}}],
            "parallel_tool_calls": False,
        }
    )
    assert [(m.author, m.text) for m in conversation.messages] == [
        (SYSTEM, "Be kind."),
        ("user", "Hi"),
        ("assistant", "One moment"),
        ("assistant", "Hello"),
    ]
    assert notes.left_out == {"a call of a tool": 2, "of role 'tool'": 1, "of role 'function'": 1}
    assert notes.changed == {"calls of tools taken out": 1}


def test_names_tell_people_of_one_role_apart(load: Load) -> None:
    mira, tobin = ({**USER, "name": name} for name in ("Mira", "Tobin"))
    [conversation], _ = load({"messages": [mira, tobin, BOT]})
    assert conversation.authors == ("Mira", "Tobin", "assistant")


def test_a_weight_of_nothing_is_told(load: Load) -> None:
    _, notes = load({"messages": [USER, {**BOT, "weight": 0}, USER, {**BOT, "weight": 1}]})
    assert list(notes.changed.values()) == [1]


@pytest.mark.parametrize(
    "refusal",
    [
        {"refusal": "I cannot."},
        {"content": None, "refusal": "I cannot."},
        {"content": [{"type": "refusal", "refusal": "I cannot."}]},
    ],
)
def test_a_refusal_is_said_as_well(load: Load, refusal: dict[str, Any]) -> None:
    [conversation], notes = load({"messages": [USER, {"role": "assistant", **refusal}]})
    assert conversation.messages[1].text == "I cannot."
    assert not notes.changed


def test_of_two_answers_the_preferred_one_is_read(load: Load) -> None:
    good = {"role": "assistant", "content": "The red one."}
    conversations, notes = load(
        {
            "input": {"messages": [USER, BOT, USER], "tools": []},
            "preferred_output": [good],
            "non_preferred_output": [BOT, BOT],
        },
        {"input": {"messages": [USER]}, "preferred_output": [good]},
    )
    assert [[m.text for m in each.messages] for each in conversations] == [
        ["Hi", "Hello", "Hi", "The red one."],
        ["Hi", "The red one."],
    ]
    assert notes.left_out == {"an answer that was not preferred": 2}


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (None, "each conversation to be an object, got nothing"),
        ({"messages": [{**USER, "content": None, "refusal": 5}]}, "'content' to be a list, got 5"),
        ({"messages": [{**USER, "content": [None]}]}, "each part of 'content' to be an object"),
        ({"input": 5, "preferred_output": []}, "'input' to be an object, got 5"),
        ({"input": {"messages": []}}, "'preferred_output' to be a list, got nothing"),
        ({"input": {"messages": []}, "preferred_output": BOT}, "'preferred_output' to be a list"),
        (
            {"input": {"messages": []}, "preferred_output": ["Hi"]},
            "each of 'messages' to be an object, got \"Hi\"",
        ),
        (
            {"input": {"messages": []}, "preferred_output": [], "non_preferred_output": 5},
            "'non_preferred_output' to be a list, got 5",
        ),
        ({"prompt": "Hi"}, "'messages' to be a list, got nothing"),
    ],
)
def test_what_cannot_be_read_is_left_out_and_counted(load: Load, item: Any, problem: str) -> None:
    good = {"messages": [USER, BOT]}
    conversations, notes = load(good, item, good)
    assert [len(each.messages) for each in conversations] == [2, 2]
    assert list(notes.left_out.values()) == [1]
    [(reason, where)] = notes.first.items()
    assert f"{reason}{where.removeprefix('talk: line 2')}".startswith(f"expected {problem}")


def test_a_name_that_is_none_costs_nothing(load: Load) -> None:
    [conversation], notes = load({"messages": [{**USER, "name": 5}, {**BOT, "name": None}]})
    assert conversation.authors == ("user", "assistant")
    assert not notes.lines()


def test_of_parts_those_that_are_text_are_kept(load: Load) -> None:
    parts = [None, "Hi", {"type": "text"}, {"type": "text", "text": "there"}, 5]
    [conversation], notes = load({"messages": [{**USER, "content": parts}, BOT]})
    assert conversation.messages[0].text == "Hi\nthere"
    assert notes.changed == {"parts that are not text taken out": 1}


@pytest.mark.parametrize("time", ["now", "", "2024-13-01", ["2024-01-01"], "\u0661", True, {}])
def test_a_time_that_is_none_is_taken_off_and_counted(load: Load, time: Any) -> None:
    turns = [{"speaker": name, "text": "Hi"} for name in ("A", "B")]
    conversations, notes = load({"turns": turns}, {"turns": [{**turns[0], "time": time}, turns[1]]})
    assert [[m.time for m in each.messages] for each in conversations] == [[None, None]] * 2
    assert notes.changed == {"a time of no known form taken off": 1}
    assert notes.first["a time of no known form taken off"] == "talk: line 2"


zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.none() | st.datetimes(timezones=st.none() | zones, allow_imaginary=True)
turns = st.lists(st.tuples(st.sampled_from("AB"), st.text().filter(str.strip), times))


@given(turns)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_turns_that_were_written_come_back(load: Load, said: list[Any]) -> None:
    said = [("A", "Hi", None), ("B", "Hello", None), *said]
    written = [
        {"speaker": author, "text": text} | ({} if time is None else {"time": time.isoformat()})
        for author, text, time in said
    ]
    [conversation], notes = load({"turns": written})
    assert [tuple(message) for message in conversation.messages] == said
    assert not notes.lines()


DEEP = "[" * 50_000 + "]" * 50_000
TURNS = '{"speaker": "A", "text": "Hi"}, {"speaker": "B", "text": "Hi"}'
SAID = '{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}'


@pytest.mark.parametrize("key", ["messages", "conversations"])
def test_a_name_that_is_none_is_no_name(tmp_path: Path, key: str) -> None:
    for name in ("null", '""', "{}", DEEP):
        (tmp_path / "talk").write_text(f'[{{"{key}": [{SAID}], "id": {name}}}]')
        [conversation] = read([Document("talk", tmp_path / "talk")])
        assert len(conversation.id) == 40  # the digest of its content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f'{{"messages": [{SAID}, {{"role": {DEEP}}}]}}', "expected 'role' to be text"),
        (
            f'{{"conversations": [{SAID}, {{"role": "user", "content": {DEEP}}}]}}',
            "expected each part of 'content' to be an object",
        ),
        (
            f'{{"turns": [{TURNS}, {{"speaker": "B", "text": {DEEP}}}]}}',
            "expected 'text' to be text",
        ),
    ],
)
def test_what_is_nested_deeply_is_left_out(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "talk").write_text(f"[{content}]")
    notes = Notes()
    [conversation] = read([Document("talk", tmp_path / "talk")], notes)
    assert len(conversation.messages) == 2
    assert notes.left_out == {reason: 1}
    assert notes.first[reason] == "talk: item 1, got a list nested too deeply"
