import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import Conversation
from elman.data.document import Document, Notes
from elman.data.readers import READERS, chatgpt, read
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
def test_a_circle_is_refused(load: Load, end: dict[str, Any]) -> None:
    mapping = {
        "a": node(said("user", "Hi"), "b", "b"),
        "b": node(said("assistant", "Hello"), "a", "a"),
    }
    with pytest.raises(ElmanError, match=r"item 2: expected a tree, .* circle"):
        load([talk(), {"mapping": mapping, **end}])


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
def test_a_time_out_of_all_bounds_is_refused(load: Load, time: Any) -> None:
    mapping = {**talk()["mapping"], "b": node(said("assistant", "Hello", time), "a")}
    with pytest.raises(ElmanError, match="item 1: expected 'create_time' to be seconds"):
        load([talk(mapping=mapping)])


def test_what_is_nested_deeply_is_refused_or_no_name(tmp_path: Path) -> None:
    deep, path = "[" * 50_000 + "]" * 50_000, tmp_path / "talk"
    path.write_text(json.dumps([talk(id="x", conversation_id="DEEP")]).replace('"DEEP"', deep))
    assert [each.id for each in read([Document("talk", path)])] == ["x"]
    mapping = {**talk()["mapping"], "b": node(said("assistant", "Hello", "DEEP"), "a")}
    path.write_text(json.dumps([talk(mapping=mapping)]).replace('"DEEP"', deep))
    with pytest.raises(ElmanError, match=r"item 1: expected 'create_time' .* something else"):
        list(read([Document("talk", path)]))


@pytest.mark.parametrize(
    "message",
    [
        5,
        {"author": "user"},
        {"author": {"role": None}},
        {"author": {"role": "user"}, "content": "Hi"},
        {"author": {"role": "user"}, "content": {"content_type": "text", "parts": "Hi"}},
        {"author": {"role": "user"}, "content": {"content_type": "text", "parts": [5]}},
        said("user", "Hi", metadata=5),
        {
            "author": {"role": "user"},
            "content": {"content_type": "text", "parts": [{"content_type": "text"}]},
        },
    ],
)
def test_a_broken_message_is_named(load: Load, message: Any) -> None:
    mapping = {**talk()["mapping"], "b": node(message, "a")}
    with pytest.raises(ElmanError, match=r"conversations-000.json: item 1: expected '?\w+"):
        load([talk(mapping=mapping)])


@pytest.mark.parametrize("mapping", [None, [], {"a": 5}, {"a": {"children": 5}}])
def test_a_broken_tree_is_named(load: Load, mapping: Any) -> None:
    with pytest.raises(ElmanError, match="item 2: expected"):
        load([talk(), {"mapping": mapping}])


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
