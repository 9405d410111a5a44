"""A file of no known format: what it looks like most, and what is missing for that."""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.document import HEAD_BYTES, Document
from elman.data.notes import Notes
from elman.data.readers import read
from elman.data.readers.likeness import likeness_of
from elman.data.readers.registry import KNOWN, READERS, find_reader
from elman.data.source import documents
from elman.errors import ElmanError

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("text", "kind", "missing"),
    [
        ('[{"messages": [{"author": "x"}]}]', "messages", "there is no 'role' in it"),
        ('{"prompt": "x"}', "pairs", "there is no 'completion' in it"),
        ('{"prompt": "' + "x" * HEAD_BYTES, "pairs", "there is no 'completion' in it"),
        ('{"chosen": "x"}', "preference", "there is no 'rejected' in it"),
        ('{"turns": [{"who": "A", "text": "Hi"}]}', "turns", "there is no 'speaker' in it"),
        ('[{"mapping": {}, "message": 1}]', "chatgpt", "there is no 'children' in it"),
        (
            '{"rows": [{"chosen": 1, "rejected": 2}]}',
            "preference",
            "'chosen', 'rejected' are there, but not where they belong",
        ),
        ('{"text": "Hi"}', "JSON", "its objects have the fields 'text'; no format has those"),
        ("[1, 2]", "JSON", "it is not made of objects"),
        ("{'messages': []}", "JSON", "it is broken: Expecting property name"),
        ('[{"a": 1},\n{"b" 2}]', "JSON", None),
        ("time;body\n1;2\n", "a table", "'time', 'body', but none for the author"),
        ("id,a\n1,2\n", "a table", "none for the author (such as 'author') and none for the text"),
        ("Log\n\nAnn: hi\nBob: yo\n", "transcript", "2 of its first 3 lines begin with 'Name: '"),
        ("31/12/2020 hi\n1/1/2021 yo", "an export of a messenger", "2 of its first 2 lines begin"),
        (
            "[12:30] <Ann> hi\n[12:31] <Bob> yo",
            "an export of a messenger",
            "2 of its first 2 lines",
        ),
        ("[build]\nname = 1", "plain text", "no line in it says who speaks"),
        ("What a day", "plain text", "no line in it says who speaks"),
        ("Hello, my friend\nI am fine", "plain text", "no line in it says who speaks"),
    ],
)
def test_what_a_text_looks_like(tmp_path: Path, text: str, kind: str, missing: str | None) -> None:
    found = likeness_of(text, READERS)
    assert found.kind == kind
    assert (missing or "") in found.missing
    (tmp_path / "talk").write_text(text)
    with pytest.raises(ElmanError) as error:
        list(read([Document("talk", tmp_path / "talk")]))
    start = f"talk: of no known format, most like {kind}: {found.missing}; {KNOWN}"
    assert str(error.value) == start


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"SQLite format 3\0" + bytes(99), "a database (SQLite): "),
        (b"%PDF-1.4 Ann: hi", "a PDF: "),
        (b"{\\rtf1 Ann: hi}", "a document in RTF: "),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><p>Ann: hi", "a web page (HTML): "),
        (b"<?xml version='1.0'?><smses/>", "XML: "),
        (b"FEA1\0\0", "a Feather file of version 1: "),
        (b"7z\xbc\xaf\x27\x1c", "an archive: "),
    ],
)
def test_what_holds_no_text_says_what_to_do(tmp_path: Path, data: bytes, problem: str) -> None:
    (tmp_path / "talk").write_bytes(data)
    with pytest.raises(ElmanError) as error:
        list(read([Document("talk", tmp_path / "talk")]))
    assert str(error.value).startswith(f"talk: {problem}")
    assert "\n" not in str(error.value)


def test_in_a_folder_each_kind_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"prompt": "Hi"}')
    (tmp_path / "b").write_text('{"prompt": "Hey"}')
    (tmp_path / "talk").write_text("A: Hi\nB: Hello\n")
    notes = Notes()
    assert len(list(read(documents(tmp_path), notes))) == 1
    assert notes.files == {"of no known format, most like pairs": 2}
    assert list(notes.first.values()) == [f"{tmp_path}/a"]


def test_where_nothing_is_known_the_first_file_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"%PDF-1.4")
    (tmp_path / "b").write_text('{"prompt": "Hi"}')
    (tmp_path / "c").write_text("What a night")
    with pytest.raises(ElmanError) as error:
        list(read(documents(tmp_path)))
    assert "1 file left out: of no known format, most like plain text" in str(error.value)
    assert str(error.value).endswith(f"; {tmp_path}/b: there is no 'completion' in it; {KNOWN}")


@cache
def golden_json() -> dict[str, list[str]]:
    """What JSON files of every reader look like at their beginning."""
    heads: dict[str, list[str]] = {}
    for path in sorted(GOLDEN.rglob("*")):
        if path.is_file() and not path.name.endswith(".expected.json"):
            document = Document(path.name, path)
            reader = find_reader(document)
            name = next((name for name, each in READERS.items() if each is reader), "")
            if document.head().lstrip("\ufeff").startswith(("{", "[")):
                heads.setdefault(name, []).append(document.head())
    return heads


@pytest.mark.parametrize("name", [name for name, reader in READERS.items() if reader.keys])
def test_the_names_by_which_a_format_is_known_are_in_its_files(name: str) -> None:
    heads = golden_json()[name]
    assert any(all(f'"{key}"' in head for key in READERS[name].keys) for head in heads)


@given(st.text(max_size=200) | st.text(st.sampled_from('{}[]":,1a \n'), max_size=50))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_text_looks_like_something(text: str) -> None:
    if text.strip():
        kind, missing = likeness_of(text, READERS)
        assert kind
        assert missing
        assert "\n" not in kind + missing
