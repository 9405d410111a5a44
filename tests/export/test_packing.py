"""What a page holds comes back as it was; what was cut or changed is told."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.unpacking import BOMB_BYTES
from elman.errors import ElmanError
from elman.export.html import read_page
from elman.export.packing import (
    ESCAPED,
    HEAD,
    PACK_MAGIC,
    as_characters,
    from_characters,
    pack,
    unpack,
)
from elman.export.rounding import code_bytes, rounded


@given(st.binary(max_size=200))
def test_bytes_become_characters_and_come_back(content: bytes) -> None:
    text = as_characters(content)
    assert from_characters(text, len(content)) == content


def test_every_pair_of_bytes_is_a_character_that_html_leaves_alone() -> None:
    content = np.arange(1 << 16, dtype="<u2").tobytes()
    text = as_characters(content)
    assert from_characters(text, len(content)) == content
    allowed = ~ESCAPED
    allowed[0xE000] = True  # the escape itself
    assert allowed[np.frombuffer(text.encode("utf-16-le"), "<u2")].all()


def test_a_document_and_arrays_come_back() -> None:
    draw = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {
        "codes": draw.integers(-128, 128, (5, 7)).astype(np.int8),
        "floats": draw.normal(size=3).astype(np.float32),
        "none": np.zeros(0, np.int32),
        "more": draw.integers(-9, 9, (2, 2)).astype(np.int8),
        "keys": draw.integers(0, 1 << 48, 4),
    }
    document, found = unpack(pack({"name": "ü"}, arrays), "here")
    assert document == {"name": "ü"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_rounding_keeps_within_half_a_step_and_takes_fewer_bits_the_coarser_it_is() -> None:
    draw = np.random.default_rng(0)
    arrays = {
        "a.weight": draw.normal(size=(64, 100)).astype(np.float32),
        "bias": np.ones(64, np.float32),
    }
    sizes = []
    for coarseness in (0.0, 0.1, 0.3, 0.6):
        found = rounded(arrays, coarseness)
        step = found["a.weight.int8_scale"][:, None]
        restored = found["a.weight"] * step
        assert (np.abs(restored - arrays["a.weight"]) <= step / 2 * 1.0001).all()
        sizes.append(code_bytes(found))
    assert sizes == sorted(sizes, reverse=True)
    assert rounded(found, 0.0)["a.weight"] is found["a.weight"]  # stored so, it stays so


@pytest.mark.parametrize("share", [0.2, 0.5, 0.999])
def test_a_page_that_was_cut_is_not_read(file: Path, share: float, tmp_path: Path) -> None:
    content = file.read_bytes()
    (tmp_path / "cut.html").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ElmanError, match=r"cut\.html: (no page|damaged)"):
        read_page(tmp_path / "cut.html")


def test_a_bomb_is_refused() -> None:
    bomb = zlib.compress(bytes(BOMB_BYTES + 1), 9)
    packed = HEAD.pack(PACK_MAGIC, len(bomb), len(bomb)) + bomb + bomb
    with pytest.raises(ElmanError, match="unpacks to more than any bot"):
        unpack(packed, "bomb.html")
