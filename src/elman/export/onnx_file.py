"""A bot as an ONNX file, with all that is needed to make it a bot again, and a self-test."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

import elman
from elman.data.files import new_folder, write_file
from elman.data.tokenizer import END, ROLES, Tokenizer
from elman.data.untrusted import parse_json
from elman.errors import ElmanError
from elman.export.card import model_card
from elman.export.folder import MODEL_CARD, make_folder, write_json, written
from elman.export.onnx_graph import CONSTANT
from elman.export.onnx_step import step_model
from elman.export.private import config_to_leave, private_words
from elman.model.array_files import DTYPES
from elman.model.config import ModelConfig
from elman.model.folder import (
    TOKENIZER,
    checked_config,
    checked_tokenizer,
    folder_of,
    read_config,
    read_tokenizer,
)
from elman.runtime.reference import ReferenceDecoder
from elman.runtime.weights import Weights, is_known, weights_of

ONNX_FORMAT = 1
"""Raised whenever a file written before can no longer be read."""

MODEL, SELF_TEST = "model.onnx", "self_test.json"

MAX_ONNX_BYTES = (1 << 31) - 1
"""Of one protobuf message."""

PREFIX = "elman."
"""What the names of a bot's facts in the metadata begin with."""

EXAMPLES = tuple(
    Path(__file__).with_name("onnx_examples") / name
    for name in ("self_test.py", "self_test.mjs", "SelfTest.cs")
)

HOW_TO_TALK = """\
`model.onnx` is one step in onnxruntime: token and state in, logits and the next state out. The
state must be carried on from step to step; `self_test.py`, `self_test.mjs` and `SelfTest.cs` show
how, and fail where it is not. A message is its role (1 user, 2 bot), its text by `tokenizer.json`
with 4 added to each id, and 0, which ends it. `elman import model.onnx --out BOT` makes a bot for
Elman of it.
"""

SELF_TEST_TALK = ("hello! my name is Alex.", "hi Alex, how are you?", "what is my name?")
"""Messages that the self-test reads, of either side in turn: made up, so that they tell nothing."""

CHECKED_LOGITS, LOGIT_TOLERANCE = 16, 1e-3

MIN_TOLERANCE = 1e-5
"""Runtimes add in other orders, and differ by a few millionths."""


def write_onnx(
    bot: Path | str,
    out: Path,
    tell: Callable[[str], None],
    *,
    license_id: str | None = None,
    languages: Sequence[str] = (),
) -> dict[str, Any]:
    """Write a bot as an ONNX file or, where `out` does not end in .onnx, as a new folder with one,
    its self-test, its tokenizer, a card, and examples of how it is used.

    Args:
        bot: its folder, or "base".
        out: the file or the new folder.
        tell: is told what private words leave.
        license_id, languages: as `model_card` has them.

    Returns:
        `files`, their names, and `bytes`, of all.

    Raises:
        ElmanError: where a cell is the user's own, the bot is damaged, or too large for one file.
    """
    folder = folder_of(bot)
    config, tokenizer = read_config(folder, trust=None), read_tokenizer(folder)
    model = ModelConfig.model_validate(config["model"])
    if not is_known(model):
        raise ElmanError(
            f"{folder}: {', '.join(model.outside_cells) or model.memory} is code, and cannot leave "
            "as ONNX: only the cells and memories that come with Elman are known as operators"
        )
    weights = weights_of(folder, config, tokenizer)
    for warning in private_words(config):
        tell(warning)
    card = model_card(out.resolve().stem, config, license_id, languages, HOW_TO_TALK)
    test = self_test(weights, tokenizer)
    if test["tolerance"] < MIN_TOLERANCE:
        tell(
            "it says the same whether its state is carried on or not: its self-test is worth little"
        )
    content = _model_bytes(weights, config_to_leave(config), tokenizer, test, card)
    if out.suffix == ".onnx":
        write_file(out, content, parents=True)
        return {"bytes": len(content), "files": [out.name]}
    with new_folder(out) as new:
        write_file(new / MODEL, content)
        write_json(new / SELF_TEST, test)
        write_file(new / TOKENIZER, tokenizer.to_json())
        write_file(new / MODEL_CARD, card)
        for example in EXAMPLES:
            shutil.copyfile(example, new / example.name)
        return written(new)


def _model_bytes(
    weights: Weights,
    config: Mapping[str, Any],
    tokenizer: Tokenizer,
    test: Mapping[str, Any],
    card: str,
) -> bytes:
    model, used = step_model(weights)
    model.doc_string = card
    # What the operators have no use for, a few integers, is kept beside them.
    rest = {
        name: {"dtype": str(array.dtype), "values": array.tolist()}
        for name, array in weights.stored.items()
        if name not in used
    }
    facts: dict[str, Any] = {
        "format": ONNX_FORMAT,
        "version": elman.__version__,
        "config": config,
        "weights": weights.digest(),
        "state": weights.state_spec(),
        "rest": rest,
        "self_test": test,
    }
    metadata = {name: json.dumps(fact) for name, fact in facts.items()}
    metadata["tokenizer"] = tokenizer.to_json()
    onnx.helper.set_model_props(model, {PREFIX + name: fact for name, fact in metadata.items()})
    if (size := model.ByteSize()) > MAX_ONNX_BYTES:
        raise ElmanError(f"a model of {size:,} bytes: one ONNX file holds {MAX_ONNX_BYTES:,}")
    return bytes(model.SerializeToString(deterministic=True))


def self_test(weights: Weights, tokenizer: Tokenizer) -> dict[str, Any]:
    """Make tokens to read from an empty state, one after the other, and what the logits are then.

    Those are checked that differ most where the state is not carried on.

    Returns:
        tokens; at, the ids whose logits are checked; logits; state_size; forgetful, by how much
        they are off without a state; and tolerance, a tenth of that at most, beyond which
        something is wrong.
    """
    tokens = []
    for number, text in enumerate(SELF_TEST_TALK):
        role = ROLES["bot"] if number % 2 else ROLES["user"]
        tokens += [role, *tokenizer.encode(text), END]
    tokens.append(ROLES["bot"])
    decoder = ReferenceDecoder(weights)
    nothing = decoder.initial_state(1)
    logits = decoder.run([np.array(tokens)], nothing, "logits").logits[0]
    forgetful = decoder.run([np.array(tokens[-1:])], nothing, "logits").logits[0]
    off = np.abs(logits - forgetful)
    at = np.sort(np.argsort(-off, kind="stable")[:CHECKED_LOGITS])
    return {
        "tokens": tokens,
        "at": at.tolist(),
        "logits": logits[at].tolist(),
        "state_size": sum(size for _, size in weights.state_spec()),
        "forgetful": float(off.max()),
        "tolerance": min(LOGIT_TOLERANCE, float(off.max()) / 10),
    }


def take_onnx(path: Path, out: Path) -> None:
    """Make a bot's folder of an ONNX file that `write_onnx` wrote: of its weights, to the bit.

    Raises:
        ElmanError: where it is cut, foreign, changed since, of a newer format, or `out` is there.
    """
    make_folder(out, *read_onnx(path))


def read_onnx(path: Path) -> tuple[dict[str, Any], Tokenizer, Weights]:
    """Read the configuration, tokenizer and weights of an ONNX file; errors as of `take_onnx`."""
    if path.stat().st_size > MAX_ONNX_BYTES:
        raise ElmanError(f"{path}: larger than {MAX_ONNX_BYTES:,} bytes, which no ONNX file is")
    try:
        model = onnx.load_model(path, load_external_data=False)
    except DecodeError:
        raise ElmanError(f"{path}: cut or damaged, or no ONNX file") from None
    found = {each.key: each.value for each in model.metadata_props}
    if PREFIX + "format" not in found:
        raise ElmanError(f"{path}: not written by elman export, or cut")

    def fact(name: str) -> Any:
        return parse_json(found.get(PREFIX + name, ""), f"{path}: {name}")

    if fact("format") != ONNX_FORMAT:
        raise ElmanError(
            f"{path}: of format {str(fact('format'))[:20]}, made by Elman "
            f"{str(fact('version'))[:20]}; this Elman reads format {ONNX_FORMAT}"
        )
    config = checked_config(fact("config"), path, None)
    tokenizer = checked_tokenizer(found.get(PREFIX + "tokenizer", ""), path)
    sizes = ModelConfig.model_validate(config["model"])
    if not is_known(sizes):
        raise ElmanError(f"{path}: not written by elman export: its cell is none of Elman's")
    empty = Weights(sizes, tokenizer.vocabulary_size, {}, tokenizer.characters)
    weights = replace(empty, stored=_arrays(path, model, fact("rest"))).checked(path)
    if weights.digest() != fact("weights"):
        raise ElmanError(f"{path}: damaged, or changed since elman export wrote it")
    return config, tokenizer, weights


def _arrays(path: Path, model: onnx.ModelProto, rest: Any) -> dict[str, np.ndarray]:
    """Return the bot's arrays of a model: those that operators use, and the rest."""
    found = {}
    try:
        for each in model.graph.initializer:
            if each.data_location == onnx.TensorProto.EXTERNAL:
                raise ElmanError(f"{path}: keeps weights in other files; elman export writes one")
            if not each.name.startswith(CONSTANT):
                array = numpy_helper.to_array(each)
                found[each.name] = array.view(np.int16) if array.dtype == np.uint16 else array
        for name, given in rest.items():
            if given["dtype"] not in DTYPES.values():
                raise ValueError(f"{name!r} is of {given['dtype']}")
            found[name] = np.array(given["values"], given["dtype"])
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ElmanError(f"{path}: damaged: {error}") from None
    return found
