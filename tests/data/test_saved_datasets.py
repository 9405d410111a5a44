"""Folders that the library `datasets` saves, read without that library."""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest

from elman.data.notes import Notes
from elman.data.readers import read
from elman.data.shards.build import CorpusBuild
from elman.data.shards.corpus import open_corpus
from elman.data.source import documents
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError

datasets.disable_progress_bars()


def rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"Grüße {number} 🙂"},
                {"role": "assistant", "content": f"Hello {number}"},
            ],
            "picture": b"\x89PNG",
        }
        for number in range(first, first + count)
    ]


def said(path: Path) -> list[str]:
    notes = Notes()
    found = [each.messages[0].text for each in read(documents(path), notes)]
    assert not notes.lines()
    return found


def test_a_saved_dataset_and_what_was_cached_beside_it(tmp_path: Path) -> None:
    dataset = datasets.Dataset.from_list(rows(150))
    dataset.save_to_disk(tmp_path / "saved", num_shards=2)
    again = datasets.load_from_disk(str(tmp_path / "saved"))
    again.map(lambda row: {"more": len(row["messages"])})
    assert list((tmp_path / "saved").glob("cache-*.arrow"))
    assert said(tmp_path / "saved") == [f"Grüße {number} 🙂" for number in range(150)]


def test_several_splits(tmp_path: Path) -> None:
    every = {name: datasets.Dataset.from_list(rows(3, n)) for n, name in ((0, "a"), (3, "b"))}
    datasets.DatasetDict(every).save_to_disk(str(tmp_path / "saved"))
    assert said(tmp_path / "saved") == [f"Grüße {number} 🙂" for number in range(6)]


@pytest.mark.parametrize("opened", [pa.ipc.new_file, pa.ipc.new_stream])
def test_arrow_as_a_file_and_as_a_stream(tmp_path: Path, opened: Any) -> None:
    table = pa.Table.from_pylist(rows(100))
    with opened(str(tmp_path / "talk.arrow"), table.schema) as writer:
        writer.write_table(table, 70)
    assert said(tmp_path / "talk.arrow") == [f"Grüße {number} 🙂" for number in range(100)]
    whole = (tmp_path / "talk.arrow").read_bytes()
    (tmp_path / "talk.arrow").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ElmanError, match="damaged or hostile Arrow data"):
        said(tmp_path / "talk.arrow")


def test_another_state_is_read_as_any_file(tmp_path: Path) -> None:
    for content in ("{broken", json.dumps({"messages": rows(1)[0]["messages"]}) + "\n"):
        (tmp_path / "state.json").write_text(content)
        (tmp_path / "talk.txt").write_text("Ann: Hi\nBo: Hello\n")
        assert len(documents(tmp_path)) == 2


def test_a_corpus_is_built_of_one(tmp_path: Path) -> None:
    datasets.Dataset.from_list(rows(90)).save_to_disk(str(tmp_path / "saved"), num_shards=3)
    tokenizer = Tokenizer.train((), 260)
    asked = CorpusBuild(
        [str(tmp_path / "saved")], tmp_path / "out", tokenizer=tokenizer, workers=2, piece_bytes=1
    )
    index, _ = asked.run()
    _, _, parts = open_corpus(tmp_path / "out")
    assert sum(map(len, parts.values())) + index.near_duplicates == 90
