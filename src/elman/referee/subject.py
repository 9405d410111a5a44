"""A layer as every check calls it, whatever its own layout and signature."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from elman.bptt import Cell, recurrence
from elman.errors import ElmanError
from elman.referee.arrays import ArrayLayer
from elman.referee.numbers import generator_of
from elman.referee.report import in_one_line

PROBE_STEPS, PROBE_ROWS = 5, 4

LayerCall = Callable[..., Any]
"""Calls a layer: `call(layer, x)` or `call(layer, x, state)`."""


def plain_call(layer: Any, x: Any, *state: Any, **masks: Any) -> Any:
    """LayerCall a layer as torch's are called, or a cell step by step."""
    if isinstance(layer, Cell):
        return recurrence(layer, x, *state, **masks)
    if not isinstance(layer, nn.RNNCellBase):
        return layer(x, *state, **masks)
    hx = state[0] if state else None
    outputs = []
    for row in x:
        hx = layer(row, hx)
        outputs.append(hx[0] if isinstance(hx, tuple) else hx)
    return torch.stack(outputs), hx


def steps_first(layer: Any, batch_first: bool = False, call: LayerCall = plain_call) -> LayerCall:
    """Make `run(x, *state)`: (T, B, I) in, outputs (T, B, H) and the state (or None) out."""

    def run(x: Any, *state: Any, **masks: Any) -> tuple[Tensor, Any]:
        flip = batch_first and isinstance(x, Tensor)
        result = call(layer, x.transpose(0, 1) if flip else x, *state, **masks)
        plain = isinstance(result, Tensor | nn.utils.rnn.PackedSequence)
        outputs, *rest = (result,) if plain else result
        after = rest[0] if len(rest) == 1 else tuple(rest) or None
        return outputs.transpose(0, 1) if flip else outputs, after

    return run


@dataclass
class Subject:
    """A layer that is checked, in float64 and in eval mode.

    Args:
        layer: it.
        run: calls it, steps first: see `steps_first`.
        input_size: I.
        batch_first: whether the layer itself takes (B, T, I).
        refused: why no state can be handed on; empty where it takes what it returns.
        masks: the names of its arguments beyond x and the state.
        source: lines of Python that make `layer` and `run`.
        tolerance: the largest relative error of two ways to compute the same.
        difference: half of the distance of finite differences.
        slope_tolerance: the largest relative error of a slope by them.
        state_has_gradient: whether the state that it returns is part of the graph.
    """

    layer: Any
    run: LayerCall
    input_size: int
    batch_first: bool
    refused: str
    masks: Sequence[str] = ()
    source: Sequence[str] = ()
    window: int | None = None
    reach: int | None = None
    tolerance: float = 1e-9
    difference: float = 1e-5
    slope_tolerance: float = 1e-5
    call: LayerCall = plain_call
    state_has_gradient: bool = True

    def x(self, steps: int, rows: int = 2, seed: int = 0) -> Tensor:
        """Draw an input, (T, B, I)."""
        shape = (steps, rows, self.input_size)
        return torch.randn(shape, generator=generator_of(seed), dtype=torch.float64)

    @property
    def of_arrays(self) -> bool:
        """Whether the layer is a function of arrays."""
        return isinstance(self.layer, ArrayLayer)

    @property
    def takes_state(self) -> bool:
        """Whether it returns a state and takes that as its second argument."""
        return not self.refused

    def remade(self, layer: nn.Module) -> LayerCall:
        """Make `run` for another layer that is called in the same way."""
        return steps_first(layer, self.batch_first, self.call)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """What the layer learns, by name."""
        if not isinstance(self.layer, nn.Module):
            return {}
        return {n: p for n, p in self.layer.named_parameters() if p.requires_grad}

    @property
    def looks_ahead(self) -> bool:
        """Whether the layer says that it reads a sequence backwards as well."""
        return bool(getattr(self.layer, "bidirectional", False))

    def reached_state(self, rows: int = 2) -> Any:
        """Return a state that the layer itself comes to, without its graph."""
        with torch.no_grad():
            return self.run(self.x(4, rows, seed=5))[1]

    def reproduction(self, *lines: str, steps: int = 12) -> str:
        """Write what shows a fault again; `x` is an input of so many steps and 2 rows."""
        shape = f"{steps}, 2, {self.input_size}"
        x = f"x = torch.randn({shape}, dtype=torch.float64, requires_grad=True)"
        return "\n".join([*self.source, x, *lines])


def leaves(state: Any) -> list[Tensor]:
    """List the tensors of a state."""
    return [leaf for leaf in pytree.tree_leaves(state) if isinstance(leaf, Tensor)]


def map_state(function: Callable[[Tensor], Tensor], state: Any) -> Any:
    """Make a state of which each tensor of floats is changed by a function."""

    def changed(leaf: Any) -> Any:
        floats = isinstance(leaf, Tensor) and leaf.is_floating_point()
        return function(leaf) if floats else leaf

    return pytree.tree_map(changed, state)


def distance(one: Any, other: Any) -> float:
    """Return the largest difference of two states, whatever they are made of."""
    pairs = zip(leaves(one), leaves(other), strict=True)
    return max((float((a - b).abs().max()) for a, b in pairs), default=0.0)


def subject_of(
    layer: Any,
    source: Sequence[str],
    call: LayerCall = plain_call,
    input_size: int | None = None,
    batch_first: bool | None = None,
    window: int | None = None,
    reach: int | None = None,
) -> Subject:
    """Find out how a layer is called.

    Raises:
        ElmanError: where it cannot be called, or is not recurrent.
    """
    size = _input_size(layer, call, input_size)
    time_dim = _time_dim(layer, call, size)
    if batch_first is None:
        batch_first = time_dim == 1
    elif time_dim is not None and batch_first != (time_dim == 1):
        said, found = ("B, T", "T, B") if batch_first else ("T, B", "B, T")
        raise ElmanError(f"the layer was said to take ({said}, I), and it takes ({found}, I)")
    named = _named_arguments(layer if call is plain_call else call)
    run = steps_first(layer, batch_first, call)
    after = run(torch.zeros(3, 2, size, dtype=torch.float64))[1]
    refused = "" if leaves(after) else "the layer returns no state"
    if leaves(after):
        try:
            run(torch.zeros(3, 2, size, dtype=torch.float64), after)
        except Exception as error:  # whatever a stranger's code raises
            said = in_one_line(error)[:120]
            refused = f"the layer does not take the state that it returns: it raised {said}"
    plain = not batch_first and call is plain_call and after is not None
    plain = plain and not isinstance(layer, nn.RNNCellBase | Cell)
    if plain:
        source = [*source[:-1], f"{source[-1]}; run = layer"] if source else ["run = layer"]
    else:
        arguments = (
            "layer" + ", batch_first=True" * batch_first + ", call=call" * (call is not plain_call)
        )
        source = [*source, f"from elman.referee import steps_first; run = steps_first({arguments})"]
    return Subject(layer, run, size, batch_first, refused, named, source, window, reach, call=call)


def _named_arguments(layer: Any) -> list[str]:
    """List the arguments of a layer's call."""
    if isinstance(layer, Cell):
        return ["keep", "cut"]
    try:
        return list(inspect.signature(getattr(layer, "forward", layer)).parameters)
    except (TypeError, ValueError):
        return []


def _input_size(layer: Any, call: LayerCall, given: int | None) -> int:
    """Find an input size with which the layer can be called.

    Raises:
        ElmanError: where there is none; it says what the layer said.
    """
    shapes = [p.shape for p in layer.parameters()] if isinstance(layer, nn.Module) else []
    found = [getattr(layer, "input_size", None), *(s[1] for s in shapes if len(s) == 2), 3]
    sizes = [given] if given else list(dict.fromkeys(n for n in found if isinstance(n, int)))
    said: Exception | None = None
    for size in sizes:
        try:
            with torch.no_grad():
                result = call(
                    layer, torch.zeros(PROBE_STEPS, PROBE_ROWS, size, dtype=torch.float64)
                )
        except Exception as error:  # whatever a stranger's code raises
            said = said or error
            continue
        _check_shape(result)
        return size
    assert said is not None
    raise not_callable(said, sizes)


def not_callable(said: Exception, sizes: Sequence[int]) -> ElmanError:
    """Say why a layer could not be called."""
    words = in_one_line(said)[:300]
    if any(word in words for word in ("CUDA", "cuda", "NVIDIA", "GPU", "MPS device", "triton")):
        return ElmanError(
            f"the layer needs a GPU ({words}); the referee runs on the CPU, in float64: give it a "
            "layer that can run there"
        )
    tried = " or ".join(f"({PROBE_STEPS}, {PROBE_ROWS}, {size})" for size in sizes)
    return ElmanError(
        f"the layer cannot be called with an input of {tried}, float64. It raised {words}. Say "
        "input_size, or write a function call(layer, x, state) that calls it"
    )


def _check_shape(result: Any) -> None:
    """Check that a first result is outputs, or outputs and a state.

    Raises:
        ElmanError: where it is something else.
    """
    expected = "expected outputs (T, B, H), or outputs and a state"
    outputs = result[0] if isinstance(result, tuple | list) and len(result) else result
    if not isinstance(outputs, Tensor):
        raise ElmanError(f"the layer returned a {type(outputs).__name__}: {expected}")
    got, want = tuple(outputs.shape), (PROBE_STEPS, PROBE_ROWS)
    if outputs.dim() != 3 or got[:2] != want:
        raise ElmanError(
            f"the layer returned outputs of {got} for an input of {want[0]} steps and {want[1]} "
            f"rows: {expected}"
        )


def _time_dim(layer: Any, call: LayerCall, size: int) -> int | None:
    """Find the dimension along which an input is felt later and not before; None: in both ways.

    Raises:
        ElmanError: where an input is felt in its own place alone.
    """
    drawn = generator_of(3)

    def outputs(x: Tensor) -> Tensor:
        torch.manual_seed(0)
        with torch.no_grad():
            result = call(layer, x)
        first: Tensor = result if isinstance(result, Tensor) else result[0]
        return first

    changed = torch.zeros(PROBE_STEPS, PROBE_ROWS, dtype=torch.bool)
    for push in (1, 3, -3) * 4:  # a ReLU may be closed for one input, and open for another
        x = torch.randn(PROBE_STEPS, PROBE_ROWS, size, generator=drawn, dtype=torch.float64)
        before = outputs(x)
        x[1, 1] += push
        changed |= (outputs(x) - before).abs().amax(2) > 0
    ways = {
        dim: (bool(along[2:].any()), bool(along[:1].any()))
        for dim, along in enumerate((changed[:, 1], changed[1]))
    }
    if not any(later or sooner for later, sooner in ways.values()):
        raise ElmanError(
            "the layer is not recurrent: no output changes with the input of another step"
        )
    forward = [dim for dim, way in ways.items() if way == (True, False)]
    if len(forward) == 1:
        return forward[0]
    if getattr(layer, "batch_first", False):
        return 1
    both = [dim for dim, (later, sooner) in ways.items() if later or sooner]
    return both[0] if len(both) == 1 else 0
