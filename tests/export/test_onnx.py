"""An ONNX model says what Python says, for every cell and memory, and becomes a bot again."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from elman.data.tokenizer import END, Tokenizer
from elman.errors import ElmanError
from elman.export.onnx_file import MODEL, read_onnx, self_test, write_onnx
from elman.export.onnx_step import step_model
from elman.model.array_files import read_arrays
from elman.model.folder import CONFIG, TOKENIZER, WEIGHTS
from elman.runtime.choose import load_bot
from elman.runtime.decoder import ArrayState
from elman.runtime.reference import ReferenceDecoder
from elman.runtime.weights import Weights
from tests.runtime.test_decoders import CONFIGS, LIMIT, VOCABULARY, made, message, weights_of
from tests.runtime.test_exactness import rounded

Run = Callable[..., Any]

GREEDY_TOKENS = 300


class OnnxSteps:
    """Steps of a model in onnxruntime, with states as Python has them."""

    def __init__(self, model: bytes | str, weights: Weights) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 2  # a warning would be printed, and the test below sees it
        self._session = onnxruntime.InferenceSession(model, options)
        self._sizes = [size for _, size in weights.state_spec()]

    def __call__(self, tokens: np.ndarray, state: ArrayState) -> tuple[np.ndarray, ArrayState]:
        given = {"token": tokens.astype(np.int32), "state": np.concatenate(state, 1)}
        logits, after = self._session.run(["logits", "next_state"], given)
        return logits, tuple(np.split(after, np.cumsum(self._sizes)[:-1], 1))


@pytest.fixture(scope="module", params=[*CONFIGS, "int8"])
def pair(request: pytest.FixtureRequest) -> tuple[ReferenceDecoder, OnnxSteps]:
    config = CONFIGS["tokens-lstm" if request.param == "int8" else request.param]
    weights = weights_of(config, made(config))
    weights = rounded(weights) if request.param == "int8" else weights
    model, _ = step_model(weights)
    onnx.checker.check_model(model, full_check=True)
    return ReferenceDecoder(weights), OnnxSteps(model.SerializeToString(), weights)


def test_every_step_is_python_s(pair: tuple[ReferenceDecoder, OnnxSteps]) -> None:
    """Rows that say different things at once, over several messages."""
    ours, theirs = pair
    draw = np.random.default_rng(3)
    rows = np.stack([np.concatenate([message(draw, 9) for _ in range(30)])[:70] for _ in range(3)])
    state = other = ours.initial_state(3)
    for tokens in rows.T.astype(np.int64):
        logits, state = ours.step(tokens, state)
        found, other = theirs(tokens, other)
        np.testing.assert_allclose(found, logits, rtol=0, atol=LIMIT)
        for one, two in zip(other, state, strict=True):
            np.testing.assert_allclose(one, two, rtol=0, atol=LIMIT)


def test_greedy_tokens_are_python_s(pair: tuple[ReferenceDecoder, OnnxSteps]) -> None:
    """Each goes on with its own tokens, and they hand each other the state on the way."""
    ours, theirs = pair
    draw = np.random.default_rng(4)
    said, heard = list[int](), list[int]()
    state = other = ours.initial_state(1)
    while len(said) < GREEDY_TOKENS:
        for token in message(draw):
            logits, state = ours.step(np.array([token], np.int64), state)
            found, other = theirs(np.array([token]), other)
        for _ in range(10):
            said.append(int(logits[0, 4:].argmax()) + 4)
            heard.append(int(found[0, 4:].argmax()) + 4)
            logits, state = ours.step(np.array(said[-1:]), state)
            found, other = theirs(np.array(heard[-1:]), other)
        state, other = other, state
        (logits, state), (found, other) = (
            each(np.array([END], np.int64), before)
            for each, before in ((ours.step, state), (theirs, other))
        )
    assert heard == said


@pytest.mark.parametrize("name", CONFIGS)
def test_a_self_test_tells_whether_the_state_is_carried_on(name: str) -> None:
    weights = weights_of(CONFIGS[name], made(CONFIGS[name]))
    test = self_test(weights, Tokenizer.train(["tea and the sea", "what is it?"] * 9, VOCABULARY))
    steps = OnnxSteps(step_model(weights)[0].SerializeToString(), weights)
    nothing = state = ReferenceDecoder(weights).initial_state(1)
    for token in test["tokens"]:
        forgetful, _ = steps(np.array([token]), nothing)
        logits, state = steps(np.array([token]), state)
    assert np.abs(logits[0, test["at"]] - test["logits"]).max() <= test["tolerance"]
    assert np.abs(forgetful[0, test["at"]] - test["logits"]).min() > test["tolerance"]


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "ann"
    write_onnx(trained, out, lambda _: None)
    return out


def run_self_test(folder: Path, code: str | None = None) -> subprocess.CompletedProcess[str]:
    code = (folder / "self_test.py").read_text("utf-8") if code is None else code
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_self_test_passes(exported: Path) -> None:
    ran = run_self_test(exported)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("passed")
    assert not ran.stderr  # no warnings of the runtime's either


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("logits, state = session", "logits, _ = session"),  # the state is never kept
        ('["logits", "next_state"]', '["logits", "logits"]'),  # another output is taken for it
        ("    given = {", "    state = np.zeros_like(state)\n    given = {"),  # each step anew
    ],
)
def test_the_self_test_fails_without_the_state(exported: Path, right: str, wrong: str) -> None:
    code = (exported / "self_test.py").read_text("utf-8")
    assert right in code
    ran = run_self_test(exported, code.replace(right, wrong))
    assert ran.returncode != 0
    assert "passed" not in ran.stdout


def numbers_of(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Return the kind and the bytes of every array of a bot; a checksum beside them may differ."""
    arrays, _ = read_arrays(folder / WEIGHTS)
    return {name: (str(each.dtype), each.tobytes()) for name, each in arrays.items()}


def test_it_becomes_the_same_bot_again(
    exported: Path, trained: Path, elman: Run, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    ran = elman("import", exported / MODEL, "--out", out)
    assert ran.code == 0, ran.err
    assert numbers_of(out) == numbers_of(trained)
    assert (out / TOKENIZER).read_bytes() == (trained / TOKENIZER).read_bytes()
    one, two = load_bot(trained), load_bot(out)
    assert one.state_digest == two.state_digest
    assert sorted(path.name for path in out.iterdir()) == [CONFIG, WEIGHTS, TOKENIZER]


def test_where_it_learned_from_is_not_inside(exported: Path, chats: Path) -> None:
    assert str(chats).encode() not in (exported / MODEL).read_bytes()


@pytest.mark.parametrize("share", [0, 0.0001, 0.3, 0.9, 0.99999])
def test_a_cut_file_is_refused(exported: Path, tmp_path: Path, share: float) -> None:
    content = (exported / MODEL).read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ElmanError, match=r"cut"):
        read_onnx(cut)


def changed(exported: Path, path: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    model = onnx.load_model(exported / MODEL)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def fact(model: onnx.ModelProto, name: str, value: Any) -> None:
    (found,) = (each for each in model.metadata_props if each.key == f"elman.{name}")
    found.value = json.dumps(value)


def moved_outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")


def output_bias(model: onnx.ModelProto) -> Any:
    (found,) = (each for each in model.graph.initializer if each.name == "output_bias")
    return found


def gone(model: onnx.ModelProto) -> None:
    model.graph.initializer.remove(output_bias(model))


def other_number(model: onnx.ModelProto) -> None:
    bias = output_bias(model)
    bias.raw_data = np.float32(1).tobytes() + bias.raw_data[4:]


HOSTILE: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "foreign": (lambda m: m.ClearField("metadata_props"), "not written by elman export"),
    "newer": (lambda m: fact(m, "format", 2), "of format 2, made by Elman .*reads format 1"),
    "other weights": (other_number, "changed since"),
    "weights elsewhere": (moved_outside, "keeps weights in other files"),
    "a weight is gone": (gone, "'output_bias' is missing"),
    "code": (lambda m: fact(m, "config", {"format": 1, "model": {"cell": "os:system"}}), "none of"),
    "a newer config": (lambda m: fact(m, "config", {"format": 9, "model": {}}), "of format 9"),
    "no JSON": (lambda m: fact(m, "rest", [1]), "damaged"),
    "odd kinds": (
        lambda m: fact(m, "rest", {"x": {"dtype": "S9999999999", "values": [1]}}),
        "'x' is of S9",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_bot_of_elman_s_is_refused(
    exported: Path, tmp_path: Path, name: str, elman: Run
) -> None:
    change, why = HOSTILE[name]
    spoiled = changed(exported, tmp_path / "spoiled.onnx", change)
    with pytest.raises(ElmanError, match=why):
        read_onnx(spoiled)
    ran = elman("import", spoiled, "--out", tmp_path / "bot")
    assert ran.code == 2
    assert ran.err.startswith("elman: ")
    assert not (tmp_path / "bot").exists()


def test_a_cell_of_one_s_own_cannot_leave(trained: Path, tmp_path: Path, elman: Run) -> None:
    bot = Path(shutil.copytree(trained, tmp_path / "bot"))
    config = json.loads((bot / CONFIG).read_text("utf-8"))
    config["model"]["cell"] = "leaky:LeakyCell"
    (bot / CONFIG).write_text(json.dumps(config), "utf-8")
    ran = elman("export", bot, "--to", "onnx", "--out", tmp_path / "bot.onnx")
    assert ran.code == 2
    assert "leaky:LeakyCell is code, and cannot leave as ONNX" in ran.err
    assert not (tmp_path / "bot.onnx").exists()


def test_none_of_it_needs_torch(trained: Path, tmp_path: Path, without_torch: Run) -> None:
    for to, out in (("onnx", tmp_path / "bot.onnx"), ("folder", tmp_path / "bot")):
        ran = without_torch("-m", "elman", "export", trained, "--to", to, "--out", out)
        assert ran.code == 0, ran.err
        ran = without_torch("-m", "elman", "import", out, "--out", tmp_path / f"from-{to}")
        assert ran.code == 0, ran.err
    for to in ("onnx", "folder"):
        again = tmp_path / f"from-{to}"
        assert numbers_of(again) == numbers_of(trained)
        assert (again / TOKENIZER).read_bytes() == (trained / TOKENIZER).read_bytes()
