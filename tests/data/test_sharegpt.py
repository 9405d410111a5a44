import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import SYSTEM, Conversation
from elman.data.notes import Notes
from elman.data.readers.registry import READERS

Load = Callable[[str], tuple[list[Conversation], Notes]]


@pytest.fixture(scope="session")
def load(load_conversations: Callable[..., tuple[list[Conversation], Notes]]) -> Load:
    return lambda content: load_conversations(content, "sharegpt")


def talk(*said: tuple[str, Any], **more: Any) -> str:
    messages = [{"from": author, "value": text} for author, text in said]
    return json.dumps({"conversations": messages, **more})


GOOD = talk(("human", "Hi"), ("gpt", "Hello"))


@pytest.mark.parametrize(
    ("name", "author"),
    [
        ("human", "user"),
        ("USER", "user"),
        ("GPT", "assistant"),
        ("bard", "assistant"),
        ("system", SYSTEM),
        ("Mira", "Mira"),
    ],
)
def test_names(load: Load, name: str, author: str) -> None:
    [conversation], _ = load(talk((name, "Hi"), ("human", "Hi"), ("gpt", "Hello")))
    assert conversation.messages[0].author == author


@pytest.mark.parametrize("system", [None, " ", 5, ["Be kind."]])
def test_instructions_that_say_nothing_are_passed_over(load: Load, system: Any) -> None:
    [conversation], _ = load(talk(("human", "Hi"), ("gpt", "Hello"), system=system))
    assert len(conversation.messages) == 2


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ("null", "each conversation to be an object, got nothing"),
        ("[]", "each conversation to be an object, got []"),
        ('{"conversations": null}', "'conversations' to be a list, got nothing"),
        ('{"conversations": ["Hi"]}', 'each message to be an object, got "Hi"'),
        ('{"conversations": [{"from": 5, "value": "Hi"}]}', "'from' to be text, got 5"),
        ('{"conversations": [{"from": "human", "value": 5}]}', "'content' to be a list, got 5"),
        ('{"conversations": [{"value": "Hi"}]}', "'role' to be text, got nothing"),
        ('{"conversations": [], "chosen": "Hi"}', 'each message to be an object, got "Hi"'),
        ('{"items": {"from": "human"}}', '\'items\' to be a list, got {"from": "human"}'),
    ],
)
def test_what_cannot_be_read_is_left_out_and_counted(load: Load, item: str, problem: str) -> None:
    for content, where in ((f"{GOOD}\n{item}\n{GOOD}", "line 2"), (f"[{GOOD},{item}]", "item 2")):
        conversations, notes = load(content)
        assert all(len(each.messages) == 2 for each in conversations)
        expected, got = problem.split(", got ")
        assert notes.left_out == {f"expected {expected}": 1}
        assert notes.first == {f"expected {expected}": f"talk: {where}, got {got}"}


@pytest.mark.parametrize(
    "head",
    [
        '{"messages": [{"role": "user", "content": "Hi"}], "tools": [{"items": {"role": 1}}]}',
        '{"turns": [{"speaker": "human", "text": "\\"conversations\\": [{\\"from\\": ..."}]}',
        '{"conversations": [{"title": "from", "messages": [{"role": "user", "content": ""}]}]}',
        f"Mira: {GOOD}",
    ],
)
def test_what_is_another_format(head: str) -> None:
    assert not READERS["sharegpt"].matches(head)


texts = st.text().filter(str.strip)
names = {"human": "user", "gpt": "assistant", "system": SYSTEM, "Mira": "Mira"}
said = st.lists(st.tuples(st.sampled_from([*names, "tool", "observation"]), texts))


@given(st.lists(said, min_size=1), st.booleans(), st.sampled_from(["conversations", "items"]))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_every_message_is_kept_or_counted(
    load: Load, talks: list[list[tuple[str, str]]], lines: bool, key: str
) -> None:
    talks = [[("human", "Hi"), ("gpt", "Hello"), *each] for each in talks]
    items = [{key: [{"from": name, "value": text} for name, text in each]} for each in talks]
    content = "\n".join(map(json.dumps, items)) if lines else json.dumps(items)
    conversations, notes = load(content)
    assert [[(m.author, m.text) for m in each.messages] for each in conversations] == [
        [(names[name], text) for name, text in each if name in names] for each in talks
    ]
    left_out = sum(name not in names for each in talks for name, _ in each)
    assert notes.left_out.total() == left_out
    assert not notes.changed


def test_what_stands_before_the_first_key_costs_little() -> None:
    start = '[{"conversations": [{' + '"a": 1,    ' * 2_000
    assert not READERS["sharegpt"].matches(start + '"value"')
    assert not READERS["sharegpt"].matches(
        '{"conversations": [{' * 2_000 + " " * 20_000 + '"value"'
    )
    assert READERS["sharegpt"].matches(start + '"value": "", "from": "human"')
