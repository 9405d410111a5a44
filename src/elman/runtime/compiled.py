"""A bot's forward pass in the compiled library: one call reads all tokens of all rows.

The weights are packed once. The library computes what reference.py says, on one thread; the
interpreter's lock is free meanwhile.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Literal, get_args

import numpy as np

from elman.model.config import KEY_SIZE
from elman.native.library import (
    BFLOAT16,
    CELL_NAMES,
    FLOAT32,
    INT8,
    INT8_QUADS,
    BotStruct,
    LayerStruct,
    Library,
    MatrixStruct,
    ReadStruct,
    StackStruct,
    TableStruct,
    load,
)
from elman.runtime.counts import Counts
from elman.runtime.decoder import ArrayDecoder, ArrayState, Found, Wanted
from elman.runtime.int8_weights import round_rows
from elman.runtime.layers import CELL_KINDS, StackShape
from elman.runtime.weights import Weights

WeightPrecision = Literal["float32", "bfloat16", "int8"]

WANTED = get_args(Wanted)

CACHE_LINE_BYTES = 64

StoredMatrix = tuple[int, np.ndarray, np.ndarray | None]
"""The library's number for a kind of weights, a matrix of them, (N, K), and int8's scales, (N,)."""


class CompiledDecoder(ArrayDecoder):
    """Let a bot read and reply by the compiled library.

    Args:
        weights: of the bot; what is needed of them is copied.
        precision: what the weights of the layers and of the output are rounded to.

    Raises:
        RuntimeError: where the library does not run here.
    """

    def __init__(self, weights: Weights, precision: WeightPrecision = "float32") -> None:
        super().__init__(weights)
        library, why = load()
        if library is None:
            raise RuntimeError(why)
        self._library = library
        self._state_size = sum(size for _, size, _ in self.state_spec)
        self._bot = _Builder(library, weights, precision)
        self._weights = replace(weights, stored={})  # which are packed now

    def run(self, rows: Sequence[np.ndarray], state: ArrayState, wanted: Wanted) -> Found:
        lengths = [len(own) for own in rows]
        tokens = np.concatenate(rows).astype(np.int64)
        if min(lengths) < 1 or tokens.min() < 0 or tokens.max() >= self.vocabulary_size:
            raise ValueError("every row needs at least one token, within the vocabulary")
        sizes = [(len(rows), size) for _, size, _ in self.state_spec]
        if [array.shape for array in state] != sizes:
            raise ValueError(f"a state of {len(rows)} rows has the shapes {sizes}")
        begins = np.array([0, *accumulate(lengths)])
        # One array for the whole state: to ask each for its address would take a while.
        numbers = np.empty(len(rows) * self._state_size, np.float32)
        places = list(accumulate((rows * size for rows, size in sizes), initial=0))
        after = tuple(
            numbers[place : place + array.size].reshape(array.shape)
            for place, array in zip(places, state, strict=False)
        )
        for own, array in zip(after, state, strict=True):
            own[:] = array
        first = numbers.ctypes.data
        addresses = (ctypes.c_void_p * len(after))(*(first + 4 * place for place in places[:-1]))
        wants_logits = len(rows) if wanted == "logits" else 0
        logits = np.empty((wants_logits, self.vocabulary_size), np.float32)
        wants_nats = wanted in ("nats", "nats without copies")
        nats = np.zeros(len(tokens) if wants_nats else 0)
        self._library.run(
            ReadStruct(
                rows=len(rows),
                wanted=WANTED.index(wanted),
                bot=self._bot.address,
                tokens=tokens.ctypes.data,
                begins=begins.ctypes.data,
                state=ctypes.addressof(addresses),
                logits=logits.ctypes.data,
                nats=nats.ctypes.data,
            )
        )
        return Found(logits, np.split(nats, begins[1:-1]) if wants_nats else [], after)


class _Builder:
    """Packs a bot's weights, and keeps alive what its structs point to."""

    def __init__(self, library: Library, weights: Weights, precision: WeightPrecision) -> None:
        self._library, self._precision = library, precision
        self._kept: list[object] = []
        self._arrays = arrays = weights.arrays
        config, size = weights.config, weights.config.hidden_size
        bot = BotStruct(V=weights.vocabulary_size, H=size, pointer=config.pointer, key=KEY_SIZE)
        stored = arrays.int8("embedding.weight")
        if stored is None and precision == "int8":
            stored = round_rows(arrays["embedding.weight"])
        if stored is None:
            bot.embedding = self._floats(arrays["embedding.weight"])
        else:
            values, scale = stored
            bot.embedding_int8 = self._kept_array(np.array(values, order="C"))
            bot.embedding_scale = self._floats(scale)
        bot.output = self._matrix("embedding.weight", "output_bias")
        if config.pointer:
            part = {
                name.removeprefix("pointer."): arrays[name]
                for name in arrays
                if name.startswith("pointer.")
            }
            bot.recorded = self._exact(part["before.weight"], part["itself.weight"])
            bot.looking = self._exact(
                part["query.weight"] / np.float32(KEY_SIZE**0.5),
                part["follow.weight"],
                part["sentinel.weight"],
                bias=np.concatenate(
                    [np.zeros(KEY_SIZE), part["follow.bias"], part["sentinel.bias"]]
                ),
            )
            bot.tell = self._exact(part["tell.weight"])
        if config.ngrams:
            counts = Counts(arrays, weights.vocabulary_size, config.ngrams)
            bot.orders = config.ngrams
            bot.gate = self._exact(arrays["ngrams.gate.weight"], bias=arrays["ngrams.gate.bias"])
            bot.alone = self._floats(counts.alone)
            tables = [
                TableStruct(len(table.contexts), *(self._kept_array(part) for part in table))
                for table in counts.tables
            ]
            bot.tables = self._address((TableStruct * len(tables))(*tables))
        stacks = {name: self._stack(name, shape) for name, shape in weights.stacks.items()}
        if config.memory == "messages":
            bot.longest = config.max_message_tokens
            bot.context = self._exact(arrays["context.weight"] / np.float32(size))
            bot.encoder, bot.decoder = stacks["encoder"], stacks["decoder"]
            bot.stack = stacks["conversation"]
        else:
            bot.stack = stacks["stack"]
        self.address = self._address(bot)
        del self._arrays

    def _stack(self, name: str, shape: StackShape) -> int:
        layers = [
            self._layer(f"{name}.layers.{number}", shape.cell) for number in range(shape.layers)
        ]
        return self._address(
            StackStruct(
                len(layers),
                self._address((LayerStruct * len(layers))(*layers)),
                self._floats(self._arrays[f"{name}.norm.weight"]),
                self._floats(self._arrays[f"{name}.norm.bias"]),
            )
        )

    def _layer(self, name: str, cell: str) -> ctypes.Structure:
        arrays, kind = self._arrays, CELL_KINDS[cell]
        layer = LayerStruct(cell=CELL_NAMES.index(cell), states=kind.states)
        layer.norm_weight = self._floats(arrays[f"{name}.norm.weight"])
        layer.norm_bias = self._floats(arrays[f"{name}.norm.bias"])
        layer.ih = self._matrix(f"{name}.cell.weight_ih", f"{name}.cell.bias_ih")
        if kind.recurrent:
            layer.hh = self._matrix(f"{name}.cell.weight_hh", f"{name}.cell.bias_hh", kind.gates)
        if f"{name}.mlp.up.weight" in arrays.stored:
            layer.mlp_norm_weight = self._floats(arrays[f"{name}.mlp.norm.weight"])
            layer.mlp_norm_bias = self._floats(arrays[f"{name}.mlp.norm.bias"])
            layer.up = self._matrix(f"{name}.mlp.up.weight")
            layer.down = self._matrix(f"{name}.mlp.down.weight")
        return layer

    def _exact(self, *parts: np.ndarray, bias: np.ndarray | None = None) -> int:
        """Pack small matrices as one, in float32."""
        return self._packed(_rounded(np.concatenate(parts), "float32"), bias)

    def _matrix(self, name: str, bias: str | None = None, gates: int = 1) -> int:
        """Pack a matrix in the precision that was asked for."""
        stored = self._arrays.int8(name)
        if stored is None or self._precision == "bfloat16":
            rounded = _rounded(self._arrays[name], self._precision)
        else:  # in float32 only the weights are of int8, and nothing is rounded
            rounded = (INT8_QUADS if self._precision == "int8" else INT8, *stored)
        return self._packed(rounded, None if bias is None else self._arrays[bias], gates)

    def _packed(self, rounded: StoredMatrix, bias: np.ndarray | None = None, gates: int = 1) -> int:
        kind, values, scale = rounded
        rows, columns = values.shape
        size = self._library.packed_size(kind, rows // gates, gates, columns)
        packed = _aligned(size, values.dtype)
        self._library.pack(
            values.ctypes.data, kind, (columns, 1), rows // gates, gates, columns,
            packed.ctypes.data,
        )  # fmt: skip
        matrix = MatrixStruct(N=rows, K=columns, kind=kind, packed=self._kept_array(packed))
        matrix.scale = None if scale is None else self._floats(scale)
        matrix.bias = None if bias is None else self._floats(bias)
        return self._address(matrix)

    def _floats(self, array: np.ndarray) -> int:
        return self._kept_array(np.array(array, np.float32, order="C"))

    def _kept_array(self, array: np.ndarray) -> int:
        self._kept.append(array)
        return int(array.ctypes.data)

    def _address(self, made: ctypes.Structure | ctypes.Array) -> int:
        self._kept.append(made)
        return ctypes.addressof(made)


def _aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """Make an array that begins where a line of the processor's caches does."""
    begun = np.empty(size * dtype.itemsize + CACHE_LINE_BYTES, np.uint8)
    first = -begun.ctypes.data % CACHE_LINE_BYTES
    return begun[first : first + size * dtype.itemsize].view(dtype)


def _rounded(weight: np.ndarray, precision: WeightPrecision) -> StoredMatrix:
    """Round a weight, (N, K)."""
    weight = np.ascontiguousarray(weight, np.float32)
    if precision == "float32":
        return FLOAT32, weight, None
    if precision == "bfloat16":
        bits = weight.view(np.uint32)
        return BFLOAT16, ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16), None
    if precision == "int8":
        return INT8_QUADS, *round_rows(weight)
    raise ValueError(f"precision must be {' or '.join(get_args(WeightPrecision))}")
