"""Folders that the library `datasets` of Hugging Face saves: which of their files hold rows.

Beside the rows lie descriptions, and what the library has cached of later work on them.

Shape: `Dataset.save_to_disk` of huggingface/datasets.
"""

from collections.abc import Sequence
from pathlib import Path

from elman.data.untrusted import parse_json, read_text
from elman.errors import ElmanError

STATE, SPLITS = "state.json", "dataset_dict.json"
"""Lies in each saved dataset and names its files; and in the folder above several."""

MAX_STATE_BYTES = 1 << 24


def without_bookkeeping(files: Sequence[Path]) -> list[Path]:
    """Leave out of some files what lies beside the rows of saved datasets."""
    rows = {file.parent: names for file in files if (names := _files_of(file)) is not None}
    above = {folder.parent for folder in rows}
    return [
        file
        for file in files
        if (file.name in rows[file.parent] if file.parent in rows else True)
        and not (file.name == SPLITS and file.parent in above)
    ]


def _files_of(state: Path) -> frozenset[str] | None:
    """Return the files of rows that a state names; None where it is no state of a dataset."""
    if state.name != STATE:
        return None
    try:
        found = parse_json(read_text(state, MAX_STATE_BYTES), state)
    except ElmanError:  # some other file of this name, which its reader judges
        return None
    listed = found.get("_data_files") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        return None
    return frozenset(
        str(each["filename"]) for each in listed if isinstance(each, dict) and "filename" in each
    )
