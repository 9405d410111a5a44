"""Functions of NumPy or JAX arrays as a layer."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree


class ArrayLayer(nn.Module):
    """A recurrent function of arrays, with a backward pass of its own.

    Args:
        forward: `forward(x, state, *weights) -> (outputs, state)`, of NumPy arrays or what
            `numpy.asarray` reads. x is (T, B, I) or (B, T, I); state is None for the first call.
        backward: `backward(cotangents, x, state, *weights)`, the gradients of all arguments after
            the first. `cotangents` are the gradients of (outputs, state). In JAX, that is
            `lambda g, *given: jax.vjp(forward, *given)[1](g)`. Without it, no gradient is checked.
        weights: arrays.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        backward: Callable[..., Any] | None = None,
        weights: Sequence[Any] = (),
    ) -> None:
        super().__init__()
        self.forward_of, self.backward_of = forward, backward
        self.weights = nn.ParameterList(torch.tensor(np.asarray(weight)) for weight in weights)

    def forward(self, x: Tensor, state: Any = None) -> Any:
        flat, spec = pytree.tree_flatten((x, state, *self.weights))
        if self.backward_of is None:
            with torch.no_grad():
                results, after = self._run(flat, spec)
        else:
            made: list[Any] = []
            results = _Function.apply(self, spec, made, *flat)
            after = made[0]
        return pytree.tree_unflatten(results, after)

    def _run(self, flat: Sequence[Any], spec: Any) -> tuple[list[Tensor], Any]:
        given = pytree.tree_unflatten([_array(part) for part in flat], spec)
        found, after = pytree.tree_flatten(tuple(self.forward_of(*given)))
        return [_tensor(part) for part in found], after


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layer: ArrayLayer, spec: Any, made: list[Any], *flat: Any) -> Any:
        results, after = layer._run(flat, spec)
        made.append(after)
        ctx.layer, ctx.spec, ctx.after, ctx.flat = layer, spec, after, flat
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        arrays = [_array(part) for part in ctx.flat]
        given = pytree.tree_unflatten(arrays, ctx.spec)
        above = pytree.tree_unflatten([_array(part) for part in cotangents], ctx.after)
        found = list(ctx.layer.backward_of(above, *given))
        # A state of None has no gradient, whatever is given for it.
        found = [None if part is None else own for part, own in zip(given, found, strict=True)]
        grads = [_tensor(part) for part in pytree.tree_leaves(found) if part is not None]
        places = iter(grads)
        return (
            None,
            None,
            None,
            *(next(places) if isinstance(p, Tensor) else None for p in ctx.flat),
        )


def _array(part: Any) -> Any:
    return part.detach().numpy() if isinstance(part, Tensor) else part


def _tensor(part: Any) -> Tensor:
    return torch.tensor(np.asarray(part))
