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
from elman.data.readers import chatgpt, read
from elman.data.readers.registry import READERS
from elman.errors import ElmanError

Load = Callable[[Any], tuple[list[Conversation], Notes]]


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    path = tmp_path_factory.mktemp("chatgpt") / "conversations-000.json"

    def load(content: Any) -> tuple[list[Conversation], Notes]:
        path.write_text(json.dumps(content), "utf-8")
        notes = Notes()
        return list(read([Document(path.name, path)], notes)), notes

    return load


def said(role: str, text: str, time: Any = None, **more: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [text]}
    return {"author": {"role": role}, "create_time": time, "content": content, **more}


def node(message: Any, parent: str | None = None, *children: str) -> dict[str, Any]:
    return {"message": message, "parent": parent, "children": list(children)}


def talk(**more: Any) -> dict[str, Any]:
    mapping = {
        "r": node(None, None, "a"),
        "a": node(said("user", "Hi"), "r", "b"),
        "b": node(said("assistant", "Hello"), "a"),
    }
    return {"title": "T", "mapping": mapping, "current_node": "b", "conversation_id": "1", **more}


def test_a_long_conversation_is_no_deep_recursion(load: Load) -> None:
    count = 3_000
    mapping = {
        str(i): node(said("user" if i % 2 else "assistant", str(i)), str(i - 1), str(i + 1))
        for i in range(count)
    }
    for end in ({"current_node": str(count - 1)}, {}):
        [conversation], _ = load([{"mapping": mapping, **end}])
        assert [m.text for m in conversation.messages] == [str(i) for i in range(count)]


@pytest.mark.parametrize("end", [{"current_node": "b"}, {"current_node": "nowhere"}, {}])
def test_a_circle_is_left_out_and_counted(load: Load, end: dict[str, Any]) -> None:
    mapping = {
        "a": node(said("user", "Hi"), "b", "b"),
        "b": node(said("assistant", "Hello"), "a", "a"),
    }
    conversations, notes = load([talk(), {"mapping": mapping, **end}, talk()])
    assert len(conversations) == 2
    assert notes.left_out == {"expected a tree of messages": 2}
    assert notes.first["expected a tree of messages"].endswith("item 2, got a circle")


@pytest.mark.parametrize("end", [{"current_node": None}, {"current_node": 5}, {}])
def test_without_an_end_the_last_answers_are_taken(load: Load, end: dict[str, Any]) -> None:
    mapping = talk()["mapping"]
    mapping["a"]["children"] = ["b", "c", "gone"]
    mapping["c"] = node(said("assistant", "Good day"), "a")
    [conversation], notes = load([{"mapping": mapping, **end}])
    assert [m.text for m in conversation.messages] == ["Hi", "Good day"]
    assert notes.left_out == {"on a branch that was not kept": 1}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"conversation_id": "x", "id": "y"}, "x"),
        ({"conversation_id": None, "id": "y"}, "y"),
        ({"conversation_id": "", "title": "Tea", "create_time": 12.5}, "Tea 12.5"),
        ({"conversation_id": None, "title": None, "create_time": 7}, "7"),
    ],
)
def test_ids(load: Load, names: dict[str, Any], expected: str) -> None:
    [conversation], _ = load([talk(**names)])
    assert conversation.id == expected


@pytest.mark.parametrize("time", ["now", [], 1e300, -1e18, {"at": 5}])
def test_a_time_out_of_all_bounds_is_taken_off_and_counted(load: Load, time: Any) -> None:
    mapping = {**talk()["mapping"], "b": node(said("assistant", "Hello", time), "a")}
    [conversation], notes = load([talk(mapping=mapping)])
    assert [m.time for m in conversation.messages] == [None, None]
    assert notes.changed == {"a time of no known form taken off": 1}
    assert notes.first["a time of no known form taken off"].endswith("item 1")


@pytest.mark.parametrize("time", [1700000000.5, "2023-11-14T22:13:20.500Z", 1700000000500])
def test_times_in_other_forms_are_read(load: Load, time: Any) -> None:
    mapping = {**talk()["mapping"], "b": node(said("assistant", "Hello", time), "a")}
    [conversation], _ = load([talk(mapping=mapping)])
    assert conversation.messages[1].seconds == 1700000000.5


def test_what_is_nested_deeply_is_no_name_and_no_time(tmp_path: Path) -> None:
    deep, path = "[" * 50_000 + "]" * 50_000, tmp_path / "talk"
    path.write_text(json.dumps([talk(id="x", conversation_id="DEEP")]).replace('"DEEP"', deep))
    assert [each.id for each in read([Document("talk", path)])] == ["x"]
    mapping = {**talk()["mapping"], "b": node(said("assistant", "Hello", "DEEP"), "a")}
    path.write_text(json.dumps([talk(mapping=mapping)]).replace('"DEEP"', deep))
    notes = Notes()
    assert len(list(read([Document("talk", path)], notes))) == 1
    assert notes.changed == {"a time of no known form taken off": 1}


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (5, "'message' to be an object"),
        ({}, "'author' to be an object"),
        ({"author": None}, "'author' to be an object"),
        ({"author": "user"}, "'author' to be an object"),
        ({"author": {"role": None}}, "'role' to be text"),
        ({"author": {"role": "user"}, "content": None}, "'content' to be an object"),
        ({"author": {"role": "user"}, "content": "Hi"}, "'content' to be an object"),
        ({"author": {"role": "user"}, "content": {"parts": "Hi"}}, "'parts' to be a list"),
        ({"author": {"role": "user"}, "content": {"text": "Hi"}}, "'content_type' to be text"),
        (
            {"author": {"role": "user"}, "content": {"parts": [5]}},
            "each of 'parts' to be an object",
        ),
        (
            {"author": {"role": "user"}, "content": {"parts": [{"content_type": "text"}]}},
            "'text' to be text",
        ),
    ],
)
def test_an_odd_message_is_left_out_and_counted(load: Load, message: Any, problem: str) -> None:
    mapping = {**talk()["mapping"], "b": node(said("assistant", "Hello"), "a", "c")}
    mapping["c"] = node(message, "b", "d")
    mapping["d"] = node(said("user", "Bye"), "c")
    [conversation], notes = load([talk(mapping=mapping, current_node="d")])
    assert [m.text for m in conversation.messages] == ["Hi", "Hello", "Bye"]
    assert notes.left_out == {f"expected {problem}": 1}
    assert "conversations-000.json: item 1, got " in notes.first[f"expected {problem}"]


@pytest.mark.parametrize(
    "message",
    [
        said("assistant", "Hello", metadata=5),
        said("assistant", "Hello", metadata=None),
        {"author": {"role": "assistant"}, "content": {"parts": [None, "Hello"]}},
        {"author": {"role": "assistant"}, "content": {"content_type": None, "parts": ["Hello"]}},
    ],
)
def test_what_has_a_text_and_an_author_is_kept(load: Load, message: Any) -> None:
    mapping = {**talk()["mapping"], "b": node(message, "a")}
    [conversation], notes = load([talk(mapping=mapping)])
    assert [m.text for m in conversation.messages] == ["Hi", "Hello"]
    assert not notes.lines()


def test_a_part_that_is_none_is_taken_out(load: Load) -> None:
    parts = {"content_type": "text", "parts": ["Hello", 5]}
    message = {"author": {"role": "assistant"}, "content": parts}
    [conversation], notes = load([talk(mapping={**talk()["mapping"], "b": node(message, "a")})])
    assert [m.text for m in conversation.messages] == ["Hi", "Hello"]
    assert notes.changed == {"parts that are not text taken out": 1}


@pytest.mark.parametrize("mapping", [None, [], {"a": 5}])
def test_an_odd_tree_is_left_out_and_counted(load: Load, mapping: Any) -> None:
    conversations, notes = load([talk(), {"mapping": mapping}, talk()])
    assert len(conversations) == 2
    assert list(notes.left_out.values()) == [1]
    assert ["conversations-000.json: item 2, got " in where for where in notes.first.values()] == [
        True
    ]


@pytest.mark.parametrize("odd", [None, 5, {}, {"children": 5}, {"parent": ["r"], "children": None}])
@pytest.mark.parametrize("end", [{}, {"current_node": None}])
def test_an_odd_node_still_holds_the_others_together(
    load: Load, odd: Any, end: dict[str, Any]
) -> None:
    mapping = {**talk()["mapping"], "r": odd}
    mapping["q"] = node(said("user", "Hey"), None, "r")
    [conversation], notes = load([talk(mapping={"q": mapping.pop("q"), **mapping}, **end)])
    assert [m.text for m in conversation.messages] == ["Hey", "Hi", "Hello"]
    assert notes.left_out.total() == (not isinstance(odd, dict))


def test_an_export_may_begin_with_nothing(load: Load) -> None:
    content = [None, None, talk()]
    assert READERS["chatgpt"].matches(json.dumps(content))
    conversations, notes = load(content)
    assert len(conversations) == 1
    assert notes.left_out == {"expected each conversation to be an object": 2}


def test_one_conversation_may_stand_alone(load: Load) -> None:
    [conversation], _ = load(talk())
    assert [m.text for m in conversation.messages] == ["Hi", "Hello"]


def test_an_export_in_which_all_is_odd_is_refused(load: Load) -> None:
    mapping = {name: node({"author": None}, None, "x") for name in "ab"}
    with pytest.raises(ElmanError, match=r"2 messages left out: expected 'author' to be an object"):
        load([{"mapping": mapping, "current_node": "a"}, {"mapping": {"a": node({}, None)}}])


@pytest.mark.parametrize(
    "head",
    [
        '[{"id": "1", "conversation_id": "1", "title": "mapping", "is_anonymous": true}]',
        '{"mapping": "message children"}',
        '"mapping": {"a": {"message": null, "children": []}}',
        '{"text": "\\"mapping\\": {\\"a\\": {\\"message\\": null, \\"children\\": []}}"}',
    ],
)
def test_what_is_no_export(head: str) -> None:
    assert not READERS["chatgpt"].matches(head)


words = st.text(min_size=1).filter(lambda text: text.strip() and not set(text) & set("【\ue200"))
kinds = st.sampled_from(["user", "assistant", "tool", "hidden", "call", "thoughts", "blank"])
REASONS = {
    "tool": "of role 'tool'",
    "hidden": "hidden in the app",
    "call": "a call of a tool",
    "thoughts": "of type 'thoughts'",
    "blank": "empty",
}
SHAPES: dict[str, Callable[[str], dict[str, Any]]] = {
    "user": lambda text: said("user", text),
    "assistant": lambda text: said("assistant", text),
    "tool": lambda text: said("tool", text),
    "hidden": lambda text: said(
        "user", text, metadata={"is_visually_hidden_from_conversation": True}
    ),
    "call": lambda text: said("assistant", text, recipient="python"),
    "thoughts": lambda text: {
        "author": {"role": "assistant"},
        "content": {"content_type": "thoughts", "thoughts": [{"content": text}]},
    },
    "blank": lambda text: said("assistant", " \n"),
}


@given(
    st.lists(st.tuples(kinds, words)),
    st.lists(st.tuples(words, st.integers(0, 2**31)), min_size=1),
    st.randoms(use_true_random=False),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_every_message_is_kept_or_counted(
    load: Load, kept: list[tuple[str, str]], others: list[tuple[str, int]], shuffle: Any
) -> None:
    """A branch of these messages, from which the others branch off somewhere."""
    kept = [("user", "Hi"), ("assistant", "Hello"), *kept]
    nodes = {
        str(i): node(SHAPES[kind](text), str(i - 1) if i else None)
        for i, (kind, text) in enumerate(kept)
    }
    for text, place in others:
        parents = list(nodes)
        nodes[f"other {len(nodes)}"] = node(said("user", text), parents[place % len(parents)])
    for name, each in nodes.items():
        each["children"] = [child for child in nodes if nodes[child]["parent"] == name]
    order = list(nodes)
    shuffle.shuffle(order)
    export = {"mapping": {n: nodes[n] for n in order}, "current_node": str(len(kept) - 1)}
    [conversation], notes = load([export])
    spoken = [(kind, text) for kind, text in kept if kind in ("user", "assistant")]
    assert [(m.author, m.text) for m in conversation.messages] == spoken
    assert notes.left_out.total() == len(nodes) - len(spoken)
    assert notes.left_out["on a branch that was not kept"] == len(others)
    for kind, reason in REASONS.items():
        assert notes.left_out[reason] == sum(each == kind for each, _ in kept)


def test_marks_that_never_end_take_no_time() -> None:
    # A pattern that tries every end for every beginning would need hours.
    for piece in ("【1†", "\ue200", "\ue200url\ue202", '\ue200entity\ue202["'):
        chatgpt._MARK.sub("", piece * (100_000 // len(piece)))
