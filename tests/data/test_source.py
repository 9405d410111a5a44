import gzip
import io
import os
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data import readers
from elman.data.document import HEAD_BYTES, MAX_LINE_BYTES, Document
from elman.data.notes import Notes
from elman.data.source import documents
from elman.data.unpacking import BOMB_BYTES
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
        notes.leave_out("no name", f"line {number}")
    notes.leave_out("empty", "line 3", 2)
    notes.leave_out_file("not text", "cat.png")
    notes.change("cut", "line 7")
    assert notes.lines() == [
        "1,234 messages left out: no name (first: line 0)",
        "2 messages left out: empty (first: line 3)",
        "1 file left out: not text (first: cat.png)",
        "1 message changed: cut (first: line 7)",
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
    with pytest.raises(ElmanError, match=r"talk: line 2, byte 12 \(0xf6\).*--encoding cp1252"):
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


def archive(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def test_an_archive_stands_for_the_files_in_it(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "export",
        ("b.txt", b"second"),
        ("a/c.txt", gzip.compress(b"first")),
        ("__MACOSX/a/._c.txt", b"junk"),
        (".DS_Store", b"junk"),
        ("a/", b""),
    )
    found = documents(path)
    assert [document.name for document in found] == [f"{path}/a/c.txt", f"{path}/b.txt"]
    assert [document.text() for document in found] == ["first", "second"]
    assert (found[0].folder, found[0].filename) == (f"{path}/a", "c.txt")
    # A reader may look into one file while it reads another.
    lines = found[0].lines()
    assert next(lines) == (1, "first")
    assert found[1].head() == "second"


def test_an_archive_within_a_folder_and_on_standard_input_is_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "export.zip", ("a", b"inside"))
    (tmp_path / "z").write_text("beside")
    assert [document.text() for document in documents(tmp_path)] == ["inside", "beside"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    [document] = documents("-")
    assert (document.name, document.text()) == ("standard input/a", "inside")


@pytest.mark.parametrize("keep", [4, 30, 0.5, -1])
def test_a_truncated_archive_is_named(tmp_path: Path, keep: float) -> None:
    path = archive(tmp_path / "export.zip", ("chat.txt", b"Mira: Hi\nTobin: Hello\n" * 99))
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(ElmanError, match=r"export\.zip: a damaged or truncated zip archive"):
        documents(path)


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "export.zip", ("chat.txt", b"Mira: Hi\nTobin: Hello\n" * 99))
    data = bytearray(path.read_bytes())
    data[45] ^= 0xFF
    path.write_bytes(data)
    [document] = documents(path)
    with pytest.raises(ElmanError, match=r"export\.zip/chat\.txt: damaged zip data"):
        document.text()


def test_an_encrypted_member_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "export.zip", ("chat.txt", b"Mira: Hi"))
    data = path.read_bytes()
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(header) + flags
        data = data[:at] + bytes([data[at] | 1]) + data[at + 1 :]
    path.write_bytes(data)
    with pytest.raises(ElmanError, match=r"chat\.txt: is encrypted"):
        documents(path)[0].head()


@pytest.mark.parametrize(
    "name", ["../chat.txt", "a/../../chat.txt", "/etc/passwd", "..\\chat.txt", "C:/chat.txt"]
)
def test_a_path_that_leads_out_of_an_archive_is_refused(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "export.zip", ("chat.txt", b"Mira: Hi"), (name, b"Mira: Hi"))
    with pytest.raises(ElmanError, match=r"refused: it holds .* leads out of it"):
        documents(path)


def test_an_archive_that_would_fill_the_machine_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "export.zip", ("chat.txt", bytes(BOMB_BYTES + 1)))
    with pytest.raises(ElmanError, match=r"refused: chat.txt would unpack to 67,108,865 bytes"):
        documents(path)


def test_many_small_bombs_are_one(tmp_path: Path) -> None:
    half = bytes(BOMB_BYTES // 2 + 1)
    path = archive(tmp_path / "export.zip", ("a.txt", half), ("b.txt", half))
    with pytest.raises(ElmanError, match="refused: all of it would unpack"):
        documents(path)


def test_a_member_gives_no_more_than_it_states(tmp_path: Path) -> None:
    path = archive(tmp_path / "export.zip", ("chat.txt", b"x" * 1000))
    data = path.read_bytes()
    path.write_bytes(data.replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    [document] = documents(path)
    with pytest.raises(ElmanError, match=r"chat\.txt: damaged zip data"):
        document.text()


def test_an_archive_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ElmanError, match="an empty archive"):
        documents(archive(tmp_path / "export.zip", (".DS_Store", b"")))


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "talk"
    with path.open("wb") as file:
        file.truncate(MAX_LINE_BYTES + 2)
    for read in (Document.text, lambda document: list(document.chunks())):
        with pytest.raises(ElmanError, match="a line of more than 256 MB"):
            read(documents(path)[0])


@pytest.mark.parametrize("zipped", [False, True])
def test_gzip_that_would_fill_the_machine_is_refused(tmp_path: Path, zipped: bool) -> None:
    data = gzip.compress(b"\n" * (BOMB_BYTES + 1))
    path = tmp_path / "talk"
    if zipped:
        archive(path, ("chat.gz", data))
    else:
        path.write_bytes(data)
    with pytest.raises(ElmanError, match="refused: unpacks to more than 67,108,864 bytes"):
        for _ in documents(path)[0].chunks():
            pass


def test_a_pipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with ThreadPoolExecutor() as pool:
        written = pool.submit(path.write_text, "Mira: Hi")
        [document] = documents(path)
        written.result()
    assert (document.text(), document.text()) == ("Mira: Hi", "Mira: Hi")


def test_a_compression_that_is_not_known_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "export.zip", ("chat.txt", b"Mira: Hi"))
    data = path.read_bytes()
    for header, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = data.index(header) + method
        data = data[:at] + b"\x09" + data[at + 1 :]
    path.write_bytes(data)
    with pytest.raises(ElmanError, match=r"cannot be unpacked: .*compression"):
        documents(path)[0].head()


texts = st.text(st.sampled_from("aé🙂\n\r\u2028 "), max_size=200)


@given(texts, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]), st.integers(1, 9))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_chunks_are_whole_lines_and_streams_are_utf8(
    tmp_path_factory: pytest.TempPathFactory, text: str, encoding: str, size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "chunks"
    text = text.encode(encoding, "ignore").decode(encoding)
    path.write_bytes(text.encode(encoding))
    # UTF-16 and UTF-8 with their marks need no name.
    named = "latin-1" if encoding == "latin-1" else "utf-8"
    document = Document("talk", path, named)
    chunks = list(document.chunks(size))
    assert "".join(chunks).removeprefix("\ufeff") == text
    assert all(chunk.endswith("\n") for chunk in chunks[:-1])
    with document.stream() as stream:
        data = b"".join(iter(lambda: stream.read(size), b""))
    assert data == text.encode()


def test_a_document_of_an_office_program_is_no_archive_of_chats(tmp_path: Path) -> None:
    path = archive(tmp_path / "chats.xlsx", ("[Content_Types].xml", b"<x/>"), ("xl/a", b"A: Hi"))
    assert [document.path for document in documents(path)] == [path]
    with pytest.raises(ElmanError, match="of an office program: save it as CSV"):
        list(readers.read(documents(path)))
