"""The fastest implementation that can compute a bot is taken, and it is said which."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from elman.errors import ElmanError
from elman.model.array_files import read_arrays, write_arrays
from elman.model.folder import BASE, INT8_SCALE, WEIGHTS
from elman.native import library
from elman.runtime.choose import INT8_LOSS, MAX_INT8_LOSS, int8_loss, load_bot
from elman.runtime.compiled import CompiledDecoder, StoredMatrix, WeightPrecision, _rounded
from elman.runtime.reference import ReferenceDecoder
from elman.runtime.weights import load_weights

compiled = pytest.mark.skipif(library.load()[0] is None, reason=library.load()[1])


def bot(folder: Path, loss: object) -> Path:
    copy = folder / "bot"
    shutil.copytree(BASE, copy)
    config = json.loads((BASE / "config.json").read_text("utf-8"))
    (copy / "config.json").write_text(json.dumps({**config, INT8_LOSS: loss}), "utf-8")
    return copy


@compiled
@pytest.mark.parametrize(
    ("loss", "weights"),
    [(0.001, "int8"), (-0.001, "int8"), (0.003, "float32"), ("0", "float32"), (None, "float32")],
)
def test_int8_is_taken_where_it_costs_next_to_nothing(
    tmp_path: Path, loss: object, weights: str
) -> None:
    loaded = load_bot(bot(tmp_path, loss))
    assert isinstance(loaded.decoder, CompiledDecoder)
    assert loaded.precision == weights
    measured = f"int8 takes {loss:.2%} more bits" if isinstance(loss, float) else "not measured"
    assert f"kernels, {weights} weights (" in loaded.why
    assert measured in loaded.why
    assert load_bot(loaded.path, "bfloat16").why.endswith("kernels, bfloat16 weights")


def test_numpy_takes_over_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elman.runtime.choose.load", lambda: (None, "there is none"))
    loaded = load_bot("base")
    assert isinstance(loaded.decoder, ReferenceDecoder)
    assert loaded.why == "numpy: there is none"


@compiled
def test_what_int8_costs_the_base_is_next_to_nothing() -> None:
    weights = load_weights("base")
    decoder = CompiledDecoder(weights)
    logits, state = decoder.begin_reply(decoder.initial_state(4))
    said = []
    for _ in range(40):  # what it says itself: it knows how to go on
        said.append(logits[:, 4:].argmax(1) + 4)
        logits, state = decoder.step(said[-1], state)
    loss = int8_loss(weights, list(np.stack(said, 1)))
    # Of so few and such likely tokens. It is 0 where whole numbers are multiplied as floats.
    assert abs(loss) < 20 * MAX_INT8_LOSS


@compiled
def test_int8_weights_are_packed_as_they_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = load_weights("base")
    restored = replace(weights, stored={name: np.array(a) for name, a in weights.arrays.items()})
    assert restored.digest() == weights.digest()
    expected = CompiledDecoder(restored, "int8")
    rounded: list[str] = []

    def recorded(weight: np.ndarray, precision: WeightPrecision) -> StoredMatrix:
        rounded.append(precision)
        return _rounded(weight, precision)

    monkeypatch.setattr("elman.runtime.compiled._rounded", recorded)
    found = CompiledDecoder(weights, "int8")
    assert set(rounded) == {"float32"}  # the small ones
    logits, _ = found.begin_reply(found.initial_state(1))
    np.testing.assert_array_equal(logits, expected.begin_reply(expected.initial_state(1))[0])


def test_matrices_lie_in_the_file_until_they_are_packed() -> None:
    weights = load_weights("base")
    matrix = weights.stored["embedding.weight"]
    assert not matrix.flags.owndata
    assert not matrix.flags.writeable
    decoder = ReferenceDecoder(weights)
    assert all(each.flags.owndata for each in decoder._memory.arrays.values())


def test_a_scale_that_leaves_no_numbers_is_refused(tmp_path: Path) -> None:
    folder = bot(tmp_path, 0)
    stored, facts = read_arrays(folder / WEIGHTS)
    stored["embedding.weight" + INT8_SCALE][0] = 1e38
    write_arrays(folder / WEIGHTS, stored, facts)
    with pytest.raises(ElmanError, match="NaN or infinity"):
        load_bot(folder)
