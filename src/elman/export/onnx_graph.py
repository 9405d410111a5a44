"""Operators and weights of an ONNX model, collected."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from elman.model.folder import INT8_SCALE
from elman.runtime.layers import NORM_EPSILON
from elman.runtime.weights import Weights

OPSET, IR_VERSION = 18, 8
"""Of 2022: runtimes in phones and browsers lag behind."""

CONSTANT = "constant_"
"""What the names of constants begin with, unlike those of a bot's arrays."""


class OnnxGraph:
    """Collects operators and weights; a value is known by its name.

    Args:
        weights: of the bot. What is used of them is stored under its own name and in its own kind
            of numbers, so that it can be read back bit by bit.
    """

    def __init__(self, weights: Weights) -> None:
        self._stored, self._int8 = weights.stored, weights.arrays.int8
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._made: dict[str, str] = {}

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator with one output; return its name."""
        (name,) = self.several(operator, 1, *inputs, **attributes)
        return name

    def several(self, operator: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add an operator with some outputs; return their names."""
        outputs = [f"{operator}_{len(self._nodes)}_{n}" for n in range(count)]
        self._nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs

    def name(self, value: str, name: str) -> None:
        """Give a value the name of an output."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))

    @property
    def used(self) -> set[str]:
        """The names of the bot's arrays that are in the model."""
        return self._initializers.keys() & self._stored.keys()

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Return a constant."""
        array = np.array(value, dtype)
        name = f"{CONSTANT}{array.dtype}_{'x'.join(map(str, array.shape))}_{array.tobytes().hex()}"
        return self._keep(name, array)

    def numbers(self, *values: int) -> str:
        """Return a row of int64, such as a shape or axes."""
        return self.constant(values, np.int64)

    def filled(self, shape: str, value: Any, dtype: Any) -> str:
        """Return an array of some shape, filled with a value."""
        whole = numpy_helper.from_array(np.array([value], dtype))
        return self("ConstantOfShape", shape, value=whole)

    def has(self, name: str) -> bool:
        """Tell whether the bot has a weight."""
        return name in self._stored

    def array(self, name: str) -> np.ndarray:
        """Return one of the bot's arrays as numbers; int16 are the bits of uint16."""
        array = self._stored[name]
        return array.view(np.uint16) if array.dtype == np.int16 else array

    def stored(self, name: str) -> str:
        """Return one of the bot's arrays as a value of the graph."""
        return self._keep(name, self.array(name))

    def weight(self, name: str) -> str:
        """Return a weight in float32. What was rounded is made so once, when a model is loaded."""
        if name not in self._made:
            made, rounded = self.stored(name), self._int8(name)
            if self._stored[name].dtype != np.float32:
                made = self("Cast", made, to=TensorProto.FLOAT)
            if rounded is not None:
                scale = self._keep(name + INT8_SCALE, rounded[1])
                made = self("Mul", made, self("Unsqueeze", scale, self.numbers(1)))
            self._made[name] = made
        return self._made[name]

    def _keep(self, name: str, array: np.ndarray) -> str:
        if name not in self._initializers:
            whole = np.asarray(array, order="C")  # which leaves single numbers as they are
            self._initializers[name] = numpy_helper.from_array(whole, name)
        return name

    def columns(self, value: str, begin: int, end: int) -> str:
        """Return some columns of (B, N)."""
        return self("Slice", value, self.numbers(begin), self.numbers(end), self.numbers(1))

    def split(self, value: str, sizes: Sequence[int]) -> list[str]:
        """Cut (B, N) into parts of some columns each."""
        if len(sizes) == 1:
            return [value]
        return self.several("Split", len(sizes), value, self.numbers(*sizes), axis=1)

    def linear(self, name: str, x: str, bias: str | None = None) -> str:
        """Multiply x, (B, K), by a weight, (N, K), and add its bias if there is one."""
        bias = f"{name}.bias" if bias is None else bias
        parts = [x, self.weight(f"{name}.weight")]
        parts += [self.weight(bias)] if self.has(bias) else []
        return self("Gemm", *parts, transB=1)

    def norm(self, name: str, x: str) -> str:
        """Normalise each row of x, (B, H), then scale and shift it."""
        scale, shift = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self("LayerNormalization", x, scale, shift, epsilon=NORM_EPSILON)

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> onnx.ModelProto:
        """Return the model of what was collected."""
        graph = helper.make_graph(
            self._nodes, name, inputs, outputs, list(self._initializers.values())
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="elman",
        )
