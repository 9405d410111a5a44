"""Every reader against exports in the shape that its source writes.

An export is a file or folder `golden/<reader>/<name>...`; beside it lies `<name>.expected.json`:
`source` (who says that exports look so), `conversations` (id, and author, text and time of each
message), and what the notes count (`left_out`, `files`, `changed`).
"""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers import Reading, read
from elman.data.readers.registry import READERS
from elman.data.source import documents
from elman.errors import ElmanError

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = sorted(GOLDEN.glob("*/*.expected.json"))
HOUR = Reading(gap=3600)


def export_of(expected: Path) -> Path:
    name = expected.name.removesuffix(".expected.json")
    [export] = [
        path
        for path in expected.parent.iterdir()
        if path != expected and (path.name == name or path.stem == name)
    ]
    return export


EXPORTS = {f"{path.parent.name}/{path.name[:-14]}": (export_of(path), path) for path in EXPECTED}


def found_in(path: Path) -> dict[str, Any]:
    notes = Notes()
    conversations = list(read(documents(path), notes, HOUR))
    return {
        "conversations": [
            {
                "id": conversation.id,
                "messages": [
                    [author, text, None if time is None else time.isoformat()]
                    for author, text, time in conversation.messages
                ],
            }
            for conversation in conversations
        ],
        "left_out": dict(notes.left_out),
        "files": dict(notes.files),
        "changed": dict(notes.changed),
        "formats": sorted(notes.formats),
    }


def expected_of(name: str) -> dict[str, Any]:
    wanted: dict[str, Any] = {"left_out": {}, "files": {}, "changed": {}}
    wanted |= json.loads(EXPORTS[name][1].read_text("utf-8"))
    assert len(wanted.pop("source")) > 10
    return wanted | {"formats": [name.partition("/")[0]]}


def test_every_reader_has_an_export() -> None:
    places = {path.stem for path in GOLDEN.iterdir()}
    assert places == READERS.keys()


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_is_read_as_expected(name: str) -> None:
    assert found_in(EXPORTS[name][0]) == expected_of(name)


@pytest.mark.parametrize("name", EXPORTS)
def test_a_name_says_nothing_and_a_zip_changes_nothing(name: str, tmp_path: Path) -> None:
    export = EXPORTS[name][0]
    archive = tmp_path / "from-a-phone"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        if export.is_dir():
            for part in sorted(export.rglob("*")):
                file.write(part, part.relative_to(export))
        else:
            file.write(export, "talk")
    wanted = expected_of(name)
    found = found_in(archive)
    assert [each["messages"] for each in found["conversations"]] == [
        each["messages"] for each in wanted["conversations"]
    ]
    assert found["left_out"] == wanted["left_out"]


FILES = [
    path
    for export, _ in EXPORTS.values()
    for path in ([export] if export.is_file() else sorted(export.rglob("*")))
    if path.is_file()
]

PIECES = [b"null", b"5", b"{}", b"[", b"]", b'"', b'"\\ud83d"', b"\n", b": ", b"\xff", b",", b"\r"]


@st.composite
def damaged(draw: st.DrawFn) -> tuple[Path, bytes]:
    """A file of an export with something else in the place of a few bytes."""
    path = draw(st.sampled_from(FILES))
    data = path.read_bytes()
    at = draw(st.integers(0, len(data)))
    new = draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)))
    return path, data[:at] + new + data[at + draw(st.integers(0, len(data))) :]


@given(damaged())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, file: tuple[Path, bytes]
) -> None:
    path, data = file
    place = tmp_path_factory.getbasetemp() / "damaged"
    place.write_bytes(data)
    try:
        conversations = list(read([Document(path.name, place)], Notes(), HOUR))
    except ElmanError:
        return
    assert all(len(conversation.authors) > 1 for conversation in conversations)
    assert all(m.text.strip() for each in conversations for m in each.messages)


@pytest.mark.parametrize("name", EXPORTS)
def test_a_copy_beside_another_format_is_read_as_well(name: str, tmp_path: Path) -> None:
    export = EXPORTS[name][0]
    (shutil.copytree if export.is_dir() else shutil.copy)(export, tmp_path / "export")
    (tmp_path / "more.txt").write_text("A: Hi\nB: Hello\n", "utf-8")
    found = found_in(tmp_path)
    wanted = expected_of(name)
    assert len(found["conversations"]) == len(wanted["conversations"]) + (
        wanted["formats"][0] != "transcript"
    )
