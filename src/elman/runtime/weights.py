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


class FloatArrays(Arrays):
    """Arrays by name, in float32, as torch names them; tables of counts keep their integers.

    What is stored in fewer bits is made float32 whenever it is asked for, and not kept so.

    Args:
        stored: with int8 matrices there is a scale for each row, under `INT8_SCALE`.
    """

    def __init__(self, stored: Arrays) -> None:
        self.stored = stored

    def __getitem__(self, name: str) -> np.ndarray:
        array, rounded = self.stored[name], self.int8(name)
        if rounded is not None:
            array = rounded[0] * rounded[1][:, None]
        return array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.stored if not name.endswith(INT8_SCALE))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def int8(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return a matrix as it is stored, (N, K), and its scales, (N,); None: not in int8."""
        scale = self.stored.get(name + INT8_SCALE)
        return None if scale is None else (self.stored[name], scale)


LARGE_MATRICES = ("embedding.weight", ".weight_ih", ".weight_hh", ".up.weight", ".down.weight")
"""What their names end in."""

MAX_INT8 = np.float32(128)
"""The largest number in an int8 matrix, without its sign."""


@dataclass(frozen=True)
class Weights:
    """What a bot computes with.

    Args:
        config: sizes and cells.
        vocabulary_size: V.
        stored: its arrays by name, as its file has them. Matrices may lie in the file.
        characters: which tokens keep a reply whole; None: any.
        made_of: the digest of the weights that these were rounded from; None: they are no copy.
    """

    config: ModelConfig
    vocabulary_size: int
    stored: Arrays
    characters: Characters | None = None
    made_of: str | None = None

    @property
    def arrays(self) -> FloatArrays:
        return FloatArrays(self.stored)

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

    def matrices(self) -> list[str]:
        """Name what is rounded where weights are of int8: all large matrices."""
        return [name for name, _ in self.shapes() if name.endswith(LARGE_MATRICES)]

    def digest(self) -> str:
        """Digest all arrays, as `weights_digest` digests those of a network."""
        if self.made_of is not None:
            return self.made_of
        return digest_of(self.arrays)

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
        header = {name: ArraySpec(a.shape, str(a.dtype)) for name, a in self.stored.items()}
        check_header(Path(str(where)), header, self.expected(header), CONFIG, int8=True)
        for name, array in self.stored.items():
            largest = MAX_INT8 if name.endswith(INT8_SCALE) else 1
            with np.errstate(over="ignore"):
                if array.dtype.kind == "f" and not np.isfinite(array * largest).all():
                    raise not_finite(Path(str(where)), name)
        return self


def digest_of(arrays: Mapping[str, np.ndarray]) -> str:
    """Digest arrays by their names, kinds, shapes and bytes, as tensor_files.py digests tensors."""
    digest = hashlib.sha256()
    for name in sorted(arrays):  # one after the other: in float32 they take much memory
        array = arrays[name]
        digest.update(f"{name} torch.{array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


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
    return read_weights(path, model, tokenizer)[0]


def read_weights(
    path: Path, model: ModelConfig, tokenizer: Tokenizer
) -> tuple[Weights, dict[str, Any]]:
    """Read a file of weights, and the facts in it.

    Raises:
        ElmanError: where it is damaged, or does not fit the model or the tokenizer.
    """
    empty = Weights(model, tokenizer.vocabulary_size, {}, tokenizer.characters)

    def check(header: ArrayHeader, facts: dict[str, Any]) -> None:
        if facts.get("tokenizer") != tokenizer.digest:
            where = f"{path.parent}: {path.name} and {TOKENIZER}"
            raise ElmanError(f"{where} do not belong together")
        check_header(path, header, empty.expected(header), CONFIG, int8=True)

    stored, facts = read_arrays(path, check, mapped=True)
    return replace(empty, stored=stored).checked(path), facts
