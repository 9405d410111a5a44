"""Parquet as JSON Lines: pyarrow writes the files, Elman reads them."""

import gzip
import importlib.util
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.parquet import ROWS_AT_ONCE
from elman.data.readers import read
from elman.data.source import documents
from elman.errors import ElmanError

SAID = [{"role": "user", "content": "Grüße 🙂"}, {"role": "assistant", "content": "Hello"}]


def packed(table: Any, **how: Any) -> bytes:
    data = io.BytesIO()
    parquet.write_table(table, data, **how)
    return data.getvalue()


def written(rows: list[dict[str, Any]], **how: Any) -> bytes:
    return packed(pa.Table.from_pylist(rows), **how)


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"messages": SAID, "picture": b"\x89PNG"}, "messages"),
        ({"conversations": [{"from": m["role"], "value": m["content"]} for m in SAID]}, "sharegpt"),
        ({"messages": {key: [m[key] for m in SAID] for key in ("role", "content")}}, "messages"),
        ({"prompt": "Grüße 🙂", "completion": "Hello", "score": float("nan")}, "pairs"),
        (
            {"score": float("inf"), "instruction": "Grüße 🙂", "input": "", "output": "Hello"},
            "pairs",
        ),
        ({"prompt": "Grüße 🙂", "chosen": "Hello", "rejected": "Go"}, "preference"),
        ({"chosen": SAID, "rejected": SAID}, "preference"),
    ],
)
def test_columns_are_known_as_the_json_readers_know_them(
    tmp_path: Path, row: dict[str, Any], name: str
) -> None:
    (tmp_path / "talk").write_bytes(written([row] * 3, row_group_size=2))
    notes = Notes()
    conversations = list(read(documents(tmp_path / "talk"), notes))
    assert list(notes.formats) == [name]
    assert [[m.text for m in each.messages] for each in conversations] == [
        ["Grüße 🙂", "Hello"]
    ] * 3


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_wherever_it_lies_its_text_is_the_same(tmp_path: Path, encoding: str) -> None:
    data = written([{"messages": SAID}], compression="zstd")
    (tmp_path / "plain").write_bytes(data)
    (tmp_path / "packed").write_bytes(gzip.compress(data))
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr("data/train", data)
    texts = [document.text() for document in documents(tmp_path, encoding)]
    assert texts == [json.dumps({"messages": SAID})] * 3


rows = st.lists(
    st.fixed_dictionaries({"a": st.none() | st.text(st.characters(exclude_categories=["Cs"]))}),
    min_size=1,
    max_size=2 * ROWS_AT_ONCE,
)


@given(rows, st.integers(1, 200), st.sampled_from(["none", "snappy", "zstd"]))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_rows_are_lines(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, Any]],
    group: int,
    compression: str,
) -> None:
    path = tmp_path_factory.getbasetemp() / "rows"
    table = pa.Table.from_pylist(rows, schema=pa.schema([("a", pa.string())]))
    parquet.write_table(table, path, row_group_size=group, compression=compression)
    lines = [json.loads(line) for _, line in Document("rows", path).lines()]
    assert lines == rows


def test_columns_of_bytes_are_not_read(tmp_path: Path) -> None:
    row = {"a": "x", "b": b"y", "c": [{"d": b"z"}]}
    (tmp_path / "talk").write_bytes(written([row]))
    assert Document("talk", tmp_path / "talk").text() == '{"a": "x"}'


def problem(tmp_path: Path, data: bytes) -> str:
    (tmp_path / "talk").write_bytes(data)
    with pytest.raises(ElmanError) as error:
        list(read([Document("talk", tmp_path / "talk")]))
    return str(error.value)


def bombs() -> dict[str, bytes]:
    text = "x" * 1_000_000
    again = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int32()), pa.array([text]))
    many = pa.ListArray.from_arrays([0, 70_000_000], pa.array(np.zeros(70_000_000, np.int8)))
    return {
        "one long text": written([{"messages": "x" * 70_000_000}], compression="zstd"),
        "one text again and again": packed(pa.table({"messages": again})),
        "a list of many": packed(pa.table({"messages": many})),
    }


@pytest.mark.slow
def test_a_bomb_is_refused(tmp_path: Path) -> None:
    for name, data in bombs().items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ElmanError, match="it unpacks to more than 67,108,864 bytes"):
            for _ in Document(name, tmp_path / name).lines():
                pass


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    data = written([{"messages": SAID}])
    for cut in (4, 20, len(data) // 2, len(data) - 1):
        assert problem(tmp_path, data[:cut]).startswith("talk: damaged or hostile Parquet data: ")
    assert "Parquet" in problem(tmp_path, b"PARE" + data[4:-4] + b"PARE")


def test_a_process_that_dies_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyarrow aborts on some damaged statistics, and would take us with it."""
    monkeypatch.setattr("elman.data.parquet.__name__", "no_such_module")
    found = problem(tmp_path, written([{"messages": SAID}]))
    assert found.startswith("talk: damaged or hostile Parquet data: ")
    assert "\n" not in found


def test_without_pyarrow_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = problem(tmp_path, written([{"messages": SAID}]))
    assert found == "talk: a Parquet file, which needs pyarrow: pip install 'elman[parquet]'"


def test_nothing_is_imported_from_the_folder_that_we_are_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyarrow.py").write_text("raise SystemExit('hostile')")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk").write_bytes(written([{"messages": SAID}]))
    assert len(list(read([Document("talk", tmp_path / "talk")]))) == 1
