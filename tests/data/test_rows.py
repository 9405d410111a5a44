"""Data sets whose rows are a prompt and an answer: `pairs` and `preference`."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import SYSTEM
from elman.data.document import HEAD_BYTES, Document
from elman.data.notes import Notes
from elman.data.readers import read
from elman.data.readers.registry import READERS, find_reader
from elman.data.readers.rows import fields_of
from elman.errors import ElmanError

Said = list[list[tuple[str, str]]]
Load = Callable[..., tuple[str, Said, Notes]]


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    path = tmp_path_factory.mktemp("rows") / "talk"

    def load(*rows: Any, as_list: bool = False) -> tuple[str, Said, Notes]:
        text = json.dumps(rows) if as_list else "\n".join(map(json.dumps, rows))
        path.write_text(text, "utf-8")
        document, notes = Document("talk", path), Notes()
        reader = find_reader(document)
        name = next((name for name, each in READERS.items() if each is reader), "")
        try:
            found = [
                [(m.author, m.text) for m in each.messages] for each in read([document], notes)
            ]
        except ElmanError:
            found = []
        return name, found, notes

    return load


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def bot(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


HI = [("user", "Hi"), ("assistant", "Hello")]
REJECTED = "an answer that was not preferred"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"instruction": "Hi", "input": "", "output": "Hello"}, HI),
        ({"instruction": "Hi", "input": None, "output": "Hello"}, HI),
        ({"instruction": "Is it", "input": "hot?", "output": "No"}, "Is it\nhot?"),
        ({"instruction": "Hi", "context": "Tea", "response": "Hello"}, "Hi\nTea"),
        ({"prompt": "Hi", "completion": " Hello"}, HI),
        ({"prompt": "Hi", "response": "Hello", "label": True}, HI),
        ({"question": "Hi", "answer": "Hello"}, HI),
        ({"input": "Hi", "output": "Hello"}, HI),
        ({"user": "Hi", "assistant": "Hello"}, HI),
        ({"query": "Hi", "prompt": None, "response": "Hello"}, HI),
        ({"prompt": [user("Hi")], "completion": [bot("Hello")]}, HI),
        ({"prompt": [user("Hi")], "completion": "Hello"}, HI),
        ({"prompt": "Hi", "completion": [user("Hi"), bot("Hello")]}, HI),
        ({"prompt": [{"from": "human", "value": "Hi"}], "completion": [bot("Hello")]}, HI),
        ({"prompt": "Human: Hi\n\nAssistant:", "completion": " Hello"}, HI),
        ({"system": "S", "prompt": "Hi", "completion": "Hello"}, [(SYSTEM, "S"), *HI]),
        ({"id": 1, "system_prompt": " ", "question": "Hi", "response": "Hello"}, HI),
        (
            {"history": [["Hi", "Hello"]], "instruction": "Tea?", "output": "Yes"},
            [*HI, ("user", "Tea?"), ("assistant", "Yes")],
        ),
    ],
)
@pytest.mark.parametrize("as_list", [False, True])
def test_pairs(load: Load, row: Any, said: Any, as_list: bool) -> None:
    name, [found], notes = load(row, as_list=as_list)
    assert name == "pairs"
    assert found == said or found[0] == ("user", said)
    assert not notes.lines()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}, HI),
        ({"chosen": [user("Hi"), bot("Hello")], "rejected": [user("Hi"), bot("Go")]}, HI),
        ({"prompt": [user("Hi")], "chosen": [bot("Hello")], "rejected": [bot("Go")]}, HI),
        ({"prompt": "Hi", "chosen": [user("Hi"), bot("Hello")], "rejected": [bot("Go")]}, HI),
        (
            {"system": "S", "prompt": "Hi", "chosen": [user("Hi"), bot("Hello")], "rejected": "Go"},
            [(SYSTEM, "S"), *HI],
        ),
        (
            {
                "prompt": [{"role": "system", "content": "S"}, user("Hi")],
                "chosen": [{"role": "system", "content": "S"}, user("Hi"), bot("Hello")],
                "rejected": "Go",
            },
            [(SYSTEM, "S"), *HI],
        ),
        ({"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi"}, HI),
        ({"prompt": "\n\nHuman: Hi\n\nAssistant:", "chosen": " Hello", "rejected": "Go"}, HI),
        ({"chosen": "Hi Hello", "rejected": "Hi Hero"}, HI),
        (
            {"system": "S", "question": "Hi", "chosen": "Hello", "rejected": ""},
            [(SYSTEM, "S"), *HI],
        ),
    ],
)
def test_the_chosen_answer_is_read_and_the_other_counted(load: Load, row: Any, said: Any) -> None:
    name, found, notes = load(row)
    assert (name, found) == ("preference", [said])
    assert notes.left_out == {REJECTED: 1}


def test_an_answer_with_a_bad_label_is_counted(load: Load) -> None:
    good = {"prompt": "Hi", "completion": "Hello", "label": True}
    _, found, notes = load(good, {"prompt": "Hi", "completion": "Go", "label": False})
    assert (found, notes.left_out) == ([HI], {REJECTED: 1})


GOOD = {"prompt": "Hi", "completion": "Hello"}


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ({"prompt": "Hi"}, "a row without an answer"),
        ({"prompt": "Hi", "completion": None}, "a row without an answer"),
        ({"prompt": 5, "completion": "x"}, "a row whose 'prompt' is neither text nor a list"),
        ({"prompt": "Hi", "completion": {}}, "a row whose 'completion' is neither text nor a list"),
        ({"prompt": "Hi", "completion": [5]}, "a message that is not as expected"),
        ({"prompt": "Hi", "completion": [{"role": 5}]}, "a message that is not as expected"),
        ({"completion": "Hello"}, "nobody answered in their conversation"),
        ({**GOOD, "history": [["a"]]}, "an earlier turn that is no pair of texts"),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_an_odd_row_is_left_out_with_its_place(
    load: Load, odd: Any, reason: str, first: bool
) -> None:
    name, found, notes = load(*((odd, GOOD) if first else (GOOD, odd)))
    assert name == "pairs"
    assert HI in found
    [told] = [each for each in notes.left_out if each.startswith(reason)]
    assert notes.first[told] in ("talk", f"talk: line {1 if first else 2}")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_of_pairs(tmp_path: Path, delimiter: str) -> None:
    rows = [
        ["id", "Question", "Answer"],
        ["a", "Hi", "Hello"],
        ["b", "Tea\n?", 'Yes, "please"; now'],
    ]
    with (tmp_path / "talk").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=delimiter).writerows([*rows, ["c"], [], ["d", "Cake?", ""]])
    notes = Notes()
    found = list(read([Document("talk", tmp_path / "talk")], notes))
    assert [[m.text for m in each.messages] for each in found] == [row[1:] for row in rows[1:]]
    assert [each.id for each in found] == ["a", "b"]
    assert notes.formats == {"pairs": 1}
    assert notes.first["a row that does not have 3 fields"] == "talk: line 5"
    assert notes.left_out.total() == 3


def test_a_quotation_mark_that_is_never_closed_is_named(tmp_path: Path) -> None:
    (tmp_path / "talk").write_text('prompt,completion\nHi,Hello\nHi,"' + "x\n" * 600_000)
    with pytest.raises(ElmanError, match=r"talk: line 3: .*quotation mark"):
        list(read([Document("talk", tmp_path / "talk")]))


@pytest.mark.parametrize(
    "text",
    [
        "prompt\nHi\n",
        "author,text,prompt,completion\n",
        "prompt completion\n",
        '{"input": {"a": 1}, "output": {}}',
        '{"text": "Hi"}',
        '{"a": {"prompt": "Hi", "completion": "Hello"}}',
        '{"prompt": "Hi"}',
        '"prompt" "completion"',
    ],
)
def test_what_is_another_format(text: str) -> None:
    assert not READERS["pairs"].matches(text)
    assert not READERS["preference"].matches(text)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", {}),
        ("5", {}),
        ("[5, null, {}]", {}),
        ('// note\n[{"a": "b"}]', {"a": {str}}),
        ('{"a": {"b": 1}, "c": []}\n{"a": null}', {"a": {dict, float}, "c": {list}}),
        ('null\n{"a": NaN, "b": -Infinity}', {"a": {float}, "b": {float}}),
        ('{"a": 1, "long": "' + "x" * HEAD_BYTES, {"a": {float}, "long": set()}),
        ('{"a": {"b": {"c": 1}}, "b": [[{"d": 2}]]} {"e', {"a": {dict}, "b": {list}}),
    ],
)
def test_fields_of_rows(text: str, fields: dict[str, set[type]]) -> None:
    assert fields_of(text) == fields


texts = st.text(st.characters(exclude_categories=["Cs"])).map(str.strip).filter(bool)
spoken = texts.filter(lambda text: not text.startswith(("Human:", "Assistant:")))


@given(st.lists(st.tuples(spoken, texts), min_size=1), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_rows_that_were_written_come_back(
    load: Load, said: list[tuple[str, str]], as_messages: bool, chosen: bool
) -> None:
    def of(make: Callable[[str], Any], text: str) -> Any:
        return [make(text)] if as_messages else text

    rows = [
        {"prompt": of(user, ask), "chosen" if chosen else "completion": of(bot, answer)}
        | ({"rejected": "no"} if chosen else {})
        for ask, answer in said
    ]
    _, found, notes = load(*rows)
    assert found == [[("user", ask), ("assistant", answer)] for ask, answer in said]
    assert notes.left_out == ({REJECTED: len(said)} if chosen else {})


DEEP = "[" * 50_000 + "]" * 50_000


@pytest.mark.parametrize(
    "row", ['{"prompt": %s, "completion": "a"}', '{"chosen": %s, "rejected": 1}']
)
def test_what_is_nested_deeply_is_one_sentence(tmp_path: Path, row: str) -> None:
    (tmp_path / "talk").write_text(row % DEEP)
    with pytest.raises(ElmanError, match=r"\Atalk: .*\Z"):
        list(read([Document("talk", tmp_path / "talk")]))
