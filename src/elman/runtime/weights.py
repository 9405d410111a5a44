"""A bot's folder as arrays that fit its configuration."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from elman.data.characters import Characters
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.model.array_files import ArrayHeader, ArraySpec, check_header, not_finite, read_arrays
from elman.model.config import BUILT_IN_MEMORIES, KEY_SIZE, ModelConfig
from elman.model.folder import (
    CONFIG,
    INT8_SCALE,
    TOKENIZER,
    WEIGHTS,
    folder_of,
    no_weights,
    read_config,
    read_tokenizer,
)
from elman.runtime.counts import TABLE_PARTS
from elman.runtime.layers import CELL_KINDS, Arrays, StackShape


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

    def digest(self) -> str:
        """Digest all arrays, as `weights_digest` digests those of a network."""
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays.items()):
            digest.update(f"{name} torch.{array.dtype} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def expected(self, header: ArrayHeader) -> dict[str, ArraySpec]:
        """Return what the header of a file must say. Tables of counts are as long as they are
        there.
        """
        found = {name: ArraySpec(shape, "float32") for name, shape in self.shapes()}
        for name in self.tables():
            found[name] = ArraySpec((-1,), "int32")
            if name in header and len(header[name].shape) == 1 and "int" in header[name].dtype:
                found[name] = header[name]
        return found

    def tables(self) -> list[str]:
        """Name the tables of counts."""
        orders = range(self.config.ngrams)
        return [f"ngrams.layers.{order}.{part}" for order in orders for part in TABLE_PARTS]

    def checked(self, where: object) -> "Weights":
        """Return itself.

        Raises:
            ElmanError: where an array is missing, of another shape, too many, or not finite.
        """
        header = {name: ArraySpec(a.shape, str(a.dtype)) for name, a in self.arrays.items()}
        check_header(Path(str(where)), header, self.expected(header), CONFIG)
        for name, array in self.arrays.items():
            if not np.isfinite(array).all():
                raise not_finite(Path(str(where)), name)
        return self


def is_known(config: ModelConfig) -> bool:
    """Tell whether the memory and every cell of a bot are built in; others need torch."""
    if config.memory not in BUILT_IN_MEMORIES:
        return False
    names = (config.cell, config.encoder_cell, config.conversation_cell, config.decoder_cell)
    return all(name is None or name in CELL_KINDS for name in names)


def load_weights(folder: Path | str, trust: Collection[str] = ()) -> Weights:
    """Load the weights of the bot of a folder; errors as of `weights_of`."""
    folder = folder_of(folder)
    return weights_of(folder, read_config(folder, trust), read_tokenizer(folder))


def weights_of(folder: Path, config: Mapping[str, Any], tokenizer: Tokenizer) -> Weights:
    """Load the weights of a folder whose other files are read.

    Raises:
        ElmanError: where they are missing, damaged or do not belong to the rest, or where a cell
            is not built in.
    """
    model = ModelConfig.model_validate(config["model"])
    if not is_known(model):
        raise ElmanError(f"{folder}: its cell is not built in, and needs torch")
    path = folder / WEIGHTS
    if not path.exists():
        raise ElmanError(no_weights(folder))
    empty = Weights(model, tokenizer.vocabulary_size, {}, tokenizer.characters)

    def check(header: ArrayHeader, facts: dict[str, Any]) -> None:
        if facts.get("tokenizer") != tokenizer.digest:
            raise ElmanError(f"{folder}: {WEIGHTS} and {TOKENIZER} do not belong together")
        check_header(path, header, empty.expected(header), CONFIG, int8=True)

    arrays = from_int8(read_arrays(path, check)[0])
    return replace(empty, arrays=arrays).checked(path)


def from_int8(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return float32 in place of shorter floats, and of int8 matrices with their scales."""
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if name.endswith(INT8_SCALE):
            continue
        scale = arrays.get(name + INT8_SCALE)
        if scale is not None:
            array = array * scale[:, None]
        found[name] = array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array
    return found
