"""A page becomes a bot again: with its weights as they are there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman.errors import ElmanError
from elman.export.html import write_page
from elman.export.importing import import_bot
from elman.model.folder import CONFIG, TOKENIZER, WEIGHTS
from elman.runtime.weights import load_weights

Run = Callable[..., Any]


def test_a_page_comes_home(bot: Path, file: Path, tmp_path: Path, elman: Run) -> None:
    home = tmp_path / "home"
    ran = elman("import", file, "--out", home)
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in home.iterdir()) == [CONFIG, WEIGHTS, TOKENIZER]
    assert (home / TOKENIZER).read_bytes() == (bot / TOKENIZER).read_bytes()
    assert json.loads((home / CONFIG).read_text())["data"] == {"path": "-", "bot": "Ann"}
    ours, theirs = load_weights(bot).arrays, load_weights(home).arrays
    assert set(ours) == set(theirs)
    for name, array in ours.items():
        if array.ndim < 2 or array.size < 4096:
            np.testing.assert_array_equal(array, theirs[name])
        else:  # in int8: half a step off, at most
            steps = np.abs(array).max(1, keepdims=True) / 127
            assert (np.abs(array - theirs[name]) <= 0.51 * steps).all()
    write_page(home, tmp_path / "again.html", 8, lambda _: None)
    assert load_weights(home).digest() == _digest(tmp_path / "again.html", tmp_path)


def _digest(page: Path, folder: Path) -> str:
    import_bot(str(page), folder / "again")
    return load_weights(folder / "again").digest()


def test_what_is_already_in_int8_comes_home_bit_by_bit(tmp_path: Path, elman: Run) -> None:
    page = tmp_path / "base.html"
    write_page(Path("base"), page, 100, lambda _: None)
    assert elman("import", page, "--out", tmp_path / "home").code == 0
    assert load_weights(tmp_path / "home").digest() == load_weights("base").digest()
    assert (tmp_path / "home" / "smalltalk.json").exists()


@pytest.mark.parametrize("share", [0, 0.1, 0.9, 0.9995])
def test_a_cut_page_is_refused(file: Path, tmp_path: Path, share: float, elman: Run) -> None:
    content = file.read_bytes()
    cut = tmp_path / "cut.html"
    cut.write_bytes(content[: int(share * len(content)) // 2 * 2])
    with pytest.raises(ElmanError, match="cut"):
        import_bot(str(cut), tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_another_page_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "other.html"
    page.write_text("<!doctype html><p>Hello", "utf-8")
    with pytest.raises(ElmanError, match=r"no page|cut"):
        import_bot(str(page), tmp_path / "home")
    shutil.copy(page, tmp_path / "odd.html")
    (tmp_path / "odd.html").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ElmanError, match=r"no page|cut"):
        import_bot(str(tmp_path / "odd.html"), tmp_path / "home")
