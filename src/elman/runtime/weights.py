"""A bot's folder as arrays that fit its configuration."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors

from elman.data.characters import Characters
from elman.data.untrusted import parse_json
from elman.errors import ElmanError
from elman.model.config import KEY_SIZE, ModelConfig
from elman.model.folder import INT8_SCALE, WEIGHTS, folder_of, read_config, read_tokenizer
from elman.runtime.counts import TABLE_PARTS
from elman.runtime.layers import CELL_KINDS, Arrays, StackShape

FLOATS = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
INTEGERS = {"I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64}


@dataclass(frozen=True)
class Weights:
    """What a bot computes with.

    Args:
        config: sizes and cells.
        vocabulary_size: V.
        arrays: float32 by name, as torch names them; tables of counts keep their integers.
        characters: which tokens keep a reply whole; None: any.
    """

    config: ModelConfig
    vocabulary_size: int
    arrays: Arrays
    characters: Characters | None = None

    @property
    def stacks(self) -> dict[str, StackShape]:
        """The stacks of layers by name; that which goes through time comes first."""
        config = self.config
        if config.memory == "tokens":
            return {"stack": StackShape(config.cell, config.layers, config.mlp)}
        own = (config.conversation_cell, config.encoder_cell, config.decoder_cell)
        conversation, encoder, decoder = (cell or config.cell for cell in own)
        return {
            "conversation": StackShape(conversation, 1, 0),
            "encoder": StackShape(encoder, 1, config.mlp),
            "decoder": StackShape(decoder, max(1, config.layers - 1), config.mlp),
        }

    @property
    def layer_states(self) -> int:
        """How many arrays at the beginning of a state are of the layers that go through time."""
        return next(iter(self.stacks.values())).states

    def state_spec(self) -> list[tuple[str, int]]:
        """List the name and the size of each array of a state, (rows, size), in order."""
        config, size, spec = self.config, self.config.hidden_size, list[tuple[str, int]]()
        for name, stack in self.stacks.items():
            name = "tokens" if name == "stack" else name
            spec += [(f"{name}.layer{layer}.{part}", size) for layer, part in stack.parts()]
            spec += [("context", size)] if name == "conversation" else []
        spec += [] if config.memory == "tokens" else [("encoder.tokens", 1)]
        if config.pointer:
            spec += [
                (f"{config.memory}.pointer.ids", config.pointer),
                (f"{config.memory}.pointer.keys", config.pointer * KEY_SIZE),
                (f"{config.memory}.pointer.before", KEY_SIZE),
            ]
        return spec

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name every array of floats that there must be, with its shape."""
        config, size = self.config, self.config.hidden_size
        yield "embedding.weight", (self.vocabulary_size, size)
        yield "output_bias", (self.vocabulary_size,)
        if config.memory == "messages":
            yield "context.weight", (size, size)
        for name, stack in self.stacks.items():
            yield from stack.shapes(name, size)
        if config.pointer:
            for layer in ("query", "before", "itself"):
                yield f"pointer.{layer}.weight", (KEY_SIZE, size)
            yield "pointer.tell.weight", (size, KEY_SIZE)
            for layer, rows in (("follow", 2), ("sentinel", 1)):
                yield f"pointer.{layer}.weight", (rows, size)
                yield f"pointer.{layer}.bias", (rows,)
        if config.ngrams:
            yield "ngrams.gate.weight", (1, size)
            yield "ngrams.gate.bias", (1,)
            for order in range(config.ngrams):
                yield f"ngrams.layers.{order}.discount", (1,)

    def checked(self, where: object) -> "Weights":
        """Return itself.

        Raises:
            ElmanError: where an array is missing, of another shape, too many, or not finite.
        """
        expected = dict(self.shapes())
        tables = {
            f"ngrams.layers.{order}.{part}"
            for order in range(self.config.ngrams)
            for part in TABLE_PARTS
        }
        for name in expected.keys() | tables | self.arrays.keys():
            array = self.arrays.get(name)
            if array is None:
                raise ElmanError(f"{where}: {name!r} is missing")
            if name in tables:
                if array.ndim != 1 or array.dtype.kind != "i":
                    raise ElmanError(f"{where}: {name!r} is no table of counts")
            elif array.shape != expected.get(name):
                raise ElmanError(
                    f"{where}: {name!r} has the shape {array.shape}, "
                    f"expected {expected.get(name, 'no such array')}"
                )
            elif array.dtype != np.float32:
                raise ElmanError(f"{where}: {name!r} is of {array.dtype}, expected floats")
            elif not np.isfinite(array).all():
                raise ElmanError(f"{where}: {name!r} holds numbers that are none (NaN or infinity)")
        return self


def is_known(config: ModelConfig) -> bool:
    """Tell whether every cell of a bot is built in; another needs torch."""
    names = (config.cell, config.encoder_cell, config.conversation_cell, config.decoder_cell)
    return all(name is None or name in CELL_KINDS for name in names)


def load_weights(folder: Path | str, trust: Collection[str] = ()) -> Weights:
    """Load the bot of a folder.

    Raises:
        ElmanError: where something of it is missing, damaged or does not belong together, or where
            a cell of it is not built in.
    """
    folder = folder_of(folder)
    config = ModelConfig.model_validate(read_config(folder, trust)["model"])
    if not is_known(config):
        raise ElmanError(f"{folder}: its cell is not built in, and needs torch")
    tokenizer, path = read_tokenizer(folder), folder / WEIGHTS
    arrays, facts = read_arrays(path)
    if facts.get("tokenizer") != tokenizer.digest:
        raise ElmanError(f"{folder}: {WEIGHTS} and its tokenizer do not belong together")
    weights = Weights(config, tokenizer.vocabulary_size, arrays, tokenizer.characters)
    return weights.checked(path)


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], Mapping[str, object]]:
    """Read a safetensors file of Elman's: arrays, floats as float32, and facts.

    Matrices of int8 with a scale for each row are float32, too.

    Raises:
        ElmanError: where the file is missing, damaged or not Elman's.
    """
    try:
        with safetensors.safe_open(path, framework="np") as file:
            facts = parse_json((file.metadata() or {}).get("elman", ""), path)
        stored = safetensors.deserialize(path.read_bytes())
    except (safetensors.SafetensorError, OSError) as error:
        raise ElmanError(f"{path}: damaged or truncated: {error}") from None
    if not isinstance(facts, dict):
        raise ElmanError(f"{path}: not written by Elman")
    return _from_int8(path, {name: _array(path, name, each) for name, each in stored}), facts


def _from_int8(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    found = {name: array for name, array in arrays.items() if not name.endswith(INT8_SCALE)}
    for name, scale in arrays.items():
        if not name.endswith(INT8_SCALE):
            continue
        matrix = found.get(name.removesuffix(INT8_SCALE))
        if matrix is None or matrix.dtype != np.int8 or scale.shape != matrix.shape[:1]:
            raise ElmanError(f"{path}: {name!r} has no int8 matrix of as many rows")
        found[name.removesuffix(INT8_SCALE)] = matrix * scale[:, None]
    return found


def _array(path: Path, name: str, stored: Mapping[str, object]) -> np.ndarray:
    kind, data, shape = stored["dtype"], stored["data"], stored["shape"]
    assert isinstance(data, bytes | bytearray)
    assert isinstance(shape, list)
    if kind == "BF16":  # the upper half of a float32
        halves = np.frombuffer(data, np.uint16).astype(np.uint32)
        return (halves << 16).view(np.float32).reshape(shape)
    if kind in FLOATS:
        return np.frombuffer(data, FLOATS[str(kind)]).astype(np.float32).reshape(shape)
    if kind in INTEGERS:
        return np.frombuffer(data, INTEGERS[str(kind)]).reshape(shape)
    raise ElmanError(f"{path}: {name!r} is of {kind}, which Elman never writes")
