import gzip
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from elman.data.source import HEAD_BYTES, Document, Notes, documents
from elman.errors import ElmanError

Save = Callable[..., Document]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def save(content: bytes, encoding: str = "utf-8") -> Document:
        path = tmp_path / "talk"
        path.write_bytes(content)
        [document] = documents(path, encoding)
        return document

    return save


def test_notes_count_by_reason_and_remember_where_it_began() -> None:
    notes = Notes()
    for number in range(1234):
        notes.add("lines left out", f"line {number}")
    notes.add("messages cut", "line 7")
    assert notes.lines() == [
        "1,234 lines left out (first: line 0)",
        "1 messages cut (first: line 7)",
    ]


LINES = "Grüße\n\n🙂\u2028\x85\x0c|"


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        pytest.param("utf-8", LINES.encode(), id="utf-8"),
        pytest.param("utf-8", f"{LINES}\n".encode(), id="newline at the end"),
        pytest.param("utf-8", LINES.replace("\n", "\r\n").encode(), id="CRLF"),
        pytest.param("utf-8", LINES.encode("utf-8-sig"), id="byte order mark"),
        pytest.param("utf-8-sig", LINES.encode("utf-8-sig"), id="utf-8-sig"),
        pytest.param("utf-8", gzip.compress(LINES.encode(), mtime=0), id="gzip"),
        pytest.param("utf-16", LINES.replace("\n", "\r\n").encode("utf-16"), id="utf-16"),
        pytest.param("utf-16-le", f"\ufeff{LINES}".encode("utf-16-le"), id="utf-16-le"),
    ],
)
def test_lines_end_at_newlines_only(save: Save, encoding: str, content: bytes) -> None:
    document = save(content, encoding)
    assert list(document.lines()) == [(1, "Grüße"), (2, ""), (3, "🙂\u2028\x85\x0c|")]
    assert document.text() == LINES


def test_the_head_is_short_and_may_end_within_a_character(save: Save) -> None:
    assert save(b"x" + "ü".encode() * HEAD_BYTES).head() == "x" + "ü" * (HEAD_BYTES // 2 - 1) + "�"


def test_invalid_utf8_is_located_and_another_encoding_suggested(save: Save) -> None:
    content = "Grüße\nHal".encode() + b"l\xf6\n"
    with pytest.raises(ElmanError, match=r"talk: line 2, byte 12 \(0xf6\).*--encoding latin-1"):
        save(content).text()
    assert save(content, "latin-1").text().endswith("Hallö")


def test_bytes_that_another_encoding_lacks_are_located(save: Save) -> None:
    with pytest.raises(ElmanError, match=r"about line 2: not ascii.*--encoding"):
        save(b"plain\n" + b"x" * 10_000 + b"\xff", "ascii").text()


# Python lists the last ones among its encodings, but they do not decode bytes to text.
@pytest.mark.parametrize("encoding", ["nonsense", "", "a\0b", "hex", "rot13", "idna", "undefined"])
def test_an_unknown_encoding_is_named(save: Save, encoding: str) -> None:
    document = save(b"Mira: Hi", encoding)
    for read in (document.head, document.text):
        with pytest.raises(ElmanError, match="--encoding"):
            read()


COMPRESSED = gzip.compress(b"Mira: Hi\nTobin: Hello\n" * 9, mtime=0)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(COMPRESSED[:2], id="cut in the header"),
        pytest.param(COMPRESSED[: len(COMPRESSED) // 2], id="cut in the data"),
        pytest.param(COMPRESSED[:-1], id="cut in the checksum"),
        pytest.param(COMPRESSED[:2] + b"\xff" + COMPRESSED[3:], id="unknown method"),
        pytest.param(COMPRESSED[:12] + b"\xff" + COMPRESSED[13:], id="wrong data"),
        pytest.param(COMPRESSED[:-8] + bytes(8), id="wrong checksum"),
        pytest.param(COMPRESSED + b"more", id="something behind it"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_damaged_gzip_is_named(save: Save, encoding: str, content: bytes) -> None:
    with pytest.raises(ElmanError, match="talk: damaged gzip data"):
        save(content, encoding).text()


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(ElmanError, match="nowhere: no such file or folder"):
        documents(tmp_path / "nowhere")


def test_a_file_that_vanishes_is_named(save: Save) -> None:
    document = save(b"Mira: Hi")
    document.path.unlink()
    with pytest.raises(ElmanError, match="talk: cannot be read"):
        document.head()


def test_a_folder_stands_for_every_file_below_it_but_hidden_ones(tmp_path: Path) -> None:
    for name in ("b", "a/c", ".hidden", ".git/config"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = [document.path.relative_to(tmp_path).as_posix() for document in documents(tmp_path)]
    assert found == ["a/c", "b"]


def test_a_hidden_folder_may_be_named_itself(tmp_path: Path) -> None:
    folder = tmp_path / ".chats"
    folder.mkdir()
    (folder / "talk").touch()
    assert len(documents(folder)) == 1


@pytest.mark.parametrize("names", [[], [".hidden"]])
def test_a_folder_without_files_is_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ElmanError, match="empty folder"):
        documents(tmp_path)


def test_standard_input_can_be_read_more_than_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO("Mira: Grüße\n".encode()), encoding="ascii")
    monkeypatch.setattr(sys, "stdin", stdin)
    [document] = documents("-")
    assert document.name == "standard input"
    assert document.text() == document.text() == "Mira: Grüße"
    document.owner.close()


def test_a_file_named_like_the_built_in_data_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [built_in] = documents("chitchat")
    Path("chitchat").touch()
    [own] = documents("chitchat")
    assert (built_in.path.name, own.path) == ("dataset.json", Path("chitchat"))
