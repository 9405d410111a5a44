"""Archives that somebody made to do harm: one sentence, or the harmless rest, and little memory."""

import gzip
import io
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data import unpacking
from elman.data.notes import Notes
from elman.data.readers import read
from elman.data.source import documents
from elman.errors import ElmanError

Run = Callable[..., Any]
Make = Callable[[Path], None]

CHAT = b"Mira: Hi there\nTobin: Hello Mira\n\n" * 20
MEGABYTE = 1 << 20


def zipped(
    *members: tuple[str | zipfile.ZipInfo, bytes], kind: int = zipfile.ZIP_DEFLATED
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3  # Unix
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"


def patched(data: bytes, header: bytes, offset: int, content: bytes, last: bool = False) -> bytes:
    """An archive with some bytes of a header in its place."""
    at = (data.rindex if last else data.index)(header) + offset
    return data[:at] + content + data[at + len(content) :]


def encrypted() -> bytes:
    data = zipped(("chat.txt", CHAT))
    return patched(patched(data, LOCAL, 6, b"\x01"), CENTRAL, 8, b"\x01")


def named(name: bytes, flags: bytes = b"\0") -> bytes:
    """An archive whose member has a name that no program would give it."""
    data = zipped(("x" * len(name), CHAT))
    for header, offset, flag in ((LOCAL, 30, 7), (CENTRAL, 46, 9)):
        data = patched(patched(data, header, offset, name), header, flag, flags)
    return data


def gzipped(times: int) -> bytes:
    return gzip.compress(CHAT * (times * MEGABYTE // len(CHAT)), mtime=0)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "zip bomb": (lambda: zipped(("chat.txt", bytes(100 * MEGABYTE))), "would unpack to"),
    "gzip bomb": (lambda: gzipped(100), "refused: unpacks to more than"),
    "gzip bomb of one line": (lambda: gzip.compress(bytes(100 * MEGABYTE)), "unpacks to more"),
    "gzip in zip": (lambda: zipped(("chat.gz", gzipped(100))), "refused: unpacks to more than"),
    "many gzips in a zip": (
        lambda: zipped(*((f"{n}.gz", gzipped(30)) for n in range(4))),
        "refused: with all else in the archive it unpacks to more than",
    ),
    "gzip in zip that says it takes much": (
        lambda: patched(
            zipped(("chat.gz", gzipped(100))), CENTRAL, 20, (1 << 30).to_bytes(4, "little")
        ),
        "would reach behind the archive's end",
    ),
    "zip in zip": (lambda: zipped(("a.zip", zipped(("chat.txt", CHAT)))), "unpack it first"),
    "a path out of it": (lambda: zipped(("../../chat.txt", CHAT)), "leads out of it"),
    "an absolute path": (lambda: zipped(("/etc/chat.txt", CHAT)), "leads out of it"),
    "a Windows path": (lambda: zipped(("C:\\chat.txt", CHAT)), "leads out of it"),
    "a link": (lambda: zipped((link("chat.txt"), b"/etc/passwd")), "a link, which only says"),
    "encrypted": (encrypted, "is encrypted"),
    "a size that is less": (
        lambda: patched(zipped(("chat.txt", CHAT)), CENTRAL, 24, b"\x0a\0\0\0"),
        "damaged zip data",
    ),
    "a place behind the end": (
        lambda: patched(zipped(("chat.txt", CHAT)), CENTRAL, 42, b"\xff\xff\xff\x7f"),
        "would reach behind the archive's end",
    ),
    "overlapping members": (
        lambda: patched(zipped(("a", CHAT), ("b", CHAT)), CENTRAL, 42, bytes(4), last=True),
        "overlaps another file",
    ),
    "thousands of members": (
        lambda: zipped(*((f"{n}.txt", b"") for n in range(5000)), kind=zipfile.ZIP_STORED),
        "5,000 files left out: empty",
    ),
    "a name that is not UTF-8": (lambda: named(b"\xff\xfe.txt", b"\x08"), "can't decode byte 0xff"),
    "a name of terminal escapes": (
        lambda: zipped(("\x1b[2J\x1b]0;mine\x07\nelman: all is well", b"\0\1\2")),
        "\ufffd[2J\ufffd]0;mine\ufffd elman: all is well: not text",
    ),
    "NUL bytes": (lambda: zipped(("chat.txt", bytes(MEGABYTE))), "empty; expected conversations"),
    "bzip2, which is unpacked whole": (
        lambda: zipped(("chat.txt", CHAT), kind=zipfile.ZIP_BZIP2),
        "is not read from archives",
    ),
    "truncated": (lambda: zipped(("chat.txt", CHAT))[:-30], "a damaged or truncated zip archive"),
    "truncated gzip": (lambda: gzip.compress(CHAT)[:-9], "damaged gzip data"),
    "endless nesting": (
        lambda: b'{"messages": [{"role": "user", "content": ' + b"[" * 100_000,
        "nested too deeply",
    ),
}

HARMLESS_REST: dict[str, tuple[Callable[[], bytes], str]] = {
    "a link": (
        lambda: zipped(("chat.txt", CHAT), (link("l"), b"/etc/passwd")),
        "1 file left out: a link, which only says where something else would lie",
    ),
    "zip in zip": (
        lambda: zipped(("chat.txt", CHAT), ("a.zip", zipped(("chat.txt", CHAT)))),
        "1 file left out: an archive within an archive",
    ),
    "a name of terminal escapes": (
        lambda: zipped(("chat.txt", CHAT), ("\x1b[2Jjunk", b"\0\1\2")),
        "1 file left out: not text (first: ",
    ),
    "an empty name": (lambda: named(b"\0chat.txt"), ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_one_sentence(elman: Run, tmp_path: Path, name: str) -> None:
    make, said = HOSTILE[name]
    path, out = tmp_path / "export", tmp_path / "out.jsonl"
    path.write_bytes(make())
    ran = elman("data", "convert", path, "--out", out)
    assert (ran.code, ran.out) == (2, ""), ran
    [line] = ran.err.splitlines()
    assert line.startswith("elman: ")
    assert said in line
    assert line.isprintable(), "nothing that a terminal would obey"
    assert not out.exists()


@pytest.mark.parametrize("name", HARMLESS_REST)
def test_the_harmless_rest_is_read(elman: Run, tmp_path: Path, name: str) -> None:
    make, said = HARMLESS_REST[name]
    path, out = tmp_path / "export", tmp_path / "out.jsonl"
    path.write_bytes(make())
    ran = elman("data", "convert", path, "--out", out)
    assert ran.code == 0, ran
    assert len(out.read_text("utf-8").splitlines()) == 20
    lines = ran.err.splitlines()
    assert len(lines) == bool(said)
    assert all(line.startswith(said) and line.isprintable() for line in lines)


LIMITED = """
import resource, sys
from elman.cli import main
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv.pop(1)),) * 2)
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its memory")
@pytest.mark.parametrize("name", ["zip bomb", "gzip bomb of one line", "gzip in zip"])
def test_in_little_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "export"
    path.write_bytes(HOSTILE[name][0]())
    command = [sys.executable, "-c", LIMITED, str(1200 * MEGABYTE), "data", "convert", str(path)]
    ran = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True)
    assert ran.returncode == 2, ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_a_bomb_is_unpacked_only_as_far_as_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    reached = unpacking.UnpackLimit.reached

    def counted(self: unpacking.UnpackLimit, name: str, size: int) -> None:
        sizes.append(size)
        reached(self, name, size)

    monkeypatch.setattr(unpacking.UnpackLimit, "reached", counted)
    path = tmp_path / "export"
    path.write_bytes(zipped(("chat.gz", gzipped(300))))
    with pytest.raises(ElmanError, match="refused"):
        documents(path)[0].head()
    assert max(sizes) <= unpacking.BOMB_BYTES + MEGABYTE


WHOLE = zipped(("a.txt", CHAT), ("b.gz", gzip.compress(CHAT, mtime=0)))
changes = st.lists(
    st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8
)


@given(changes)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_whatever_is_changed_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changed: list[tuple[int, int]]
) -> None:
    data = bytearray(WHOLE)
    for at, byte in changed:
        data[at] = byte
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_bytes(data)
    with suppress(ElmanError):
        assert list(read(documents(path), Notes()))
