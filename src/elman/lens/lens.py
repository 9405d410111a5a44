"""The lens for any model that holds Elman's recurrent layers: hooks, and nothing else changes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from elman.bptt import GRU, LSTM, RNN, MinGRU, MinLSTM
from elman.lens.tracing import Call, TracingUnfold, share, trace_calls
from elman.model.blocks import RecurrentBlock

WATCHABLE_LAYERS = (RNN, GRU, LSTM, MinGRU, MinLSTM, RecurrentBlock)
"""The modules that take an `unfold`, and so can be traced."""


@dataclass(frozen=True)
class LayerFlow:
    """One run of one layer: T steps, B rows, H units.

    Args:
        name: of the layer in the model.
        h: of every step, (T, B, H).
        gradient: dLoss/dh of every step, (T, B, H).
        outside: of it, what did not come through the next step of this layer.
        back: of it, what came back from the next step.
        direct: dloss_t/dh_t, from the step's own loss alone, through all layers; None where no
            losses were given.
        indirect: from later losses: the rest.
        lags: the norm of dloss_s/dh_t, (losses, T, B): what each loss sends back.
        weights: the gradient of each weight, as this run made it.
    """

    name: str
    h: Tensor
    gradient: Tensor
    outside: Tensor
    back: Tensor
    direct: Tensor | None
    indirect: Tensor | None
    lags: Tensor | None
    weights: dict[str, Tensor]
    _products: dict[str, tuple[Tensor, Tensor | None]]

    def shares(self, weight: str) -> Tensor:
        """Measure each step's share of a weight's gradient, along it, (T,); their sum is 1."""
        made, of = self._products[weight]
        owner = torch.arange(len(made), device=made.device).unsqueeze(1).expand(made.shape[:2])
        return share(self.weights[weight], made, of, owner, len(made))

    def by_lag(self) -> Tensor:
        """Average the gradient's norm by how many steps it went back, (losses,)."""
        if self.lags is None:
            raise ValueError("no losses were given to Lens.flow, so lags are not known")
        steps = self.lags.shape[1]
        means = []
        for lag in range(steps):
            pairs = self.lags.diagonal(offset=-lag, dim1=0, dim2=1)
            means.append(pairs.mean())
        return torch.stack(means)


class Lens:
    """Watches the recurrent layers of a model while it runs forward and backward.

        with Lens(model) as lens:
            losses = ...          # one for each step, from the model
            losses.sum().backward()
            flow = lens.flow()    # or, more exactly and dearer, lens.flow(losses)

    Inside, the layers run on Elman's own loops; no result and no gradient changes, beyond rounding.
    On leaving, every hook is gone.

    Args:
        model: holds layers of `elman.LSTM`, `GRU`, `RNN`, `MinGRU` or `MinLSTM`, or is a chatbot.

    Raises:
        ValueError: where the model has none.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = [
            (name, module)
            for name, module in model.named_modules()
            if isinstance(module, WATCHABLE_LAYERS)
        ]
        if not self._modules:
            names = ", ".join(kind.__name__ for kind in WATCHABLE_LAYERS[:-1])
            raise ValueError(
                f"{type(model).__name__} holds no layer that can be traced: elman.{names}"
            )
        self._handles: list[RemovableHandle] = []
        self._traced: list[tuple[str, TracingUnfold]] = []

    def __enter__(self) -> Self:
        self._traced = []
        for name, module in self._modules:
            self._handles.append(trace_calls(module, partial(self._keep, name)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _keep(self, name: str, traced: TracingUnfold) -> None:
        self._traced.append((name, traced))

    def calls(self) -> Iterator[tuple[str, Call]]:
        """List every run of every layer since `with` began, with the layer's name."""
        for name, traced in self._traced:
            several = len(traced.calls) > 1
            for layer, call in enumerate(traced.calls):
                yield (f"{name}.{layer}" if name else str(layer)) if several else name, call

    def flow(self, losses: Tensor | None = None) -> list[LayerFlow]:
        """Say what went through each layer, one for each run of it, in the order of the runs.

        Args:
            losses: one for each step, (T,) or (T, B), with their graph: each is differentiated on
                its own, so that the direct part is known exactly, for as many backward passes as
                there are steps. None: what the last backward pass left, which splits the gradient
                of h into what came from outside the layer and what came back from its next step.

        Raises:
            ValueError: where the layers have not run, or no backward pass has come by; where the
                losses have no graph, or a layer has not one step for each of them.
        """
        calls = list(self.calls())
        if not calls:
            raise ValueError("nothing has run: call the model inside `with Lens(model)`")
        if losses is None:
            if all(call.outside is None for _, call in calls):
                raise ValueError("no backward pass came by: call backward(), or give the losses")
            return [_made(name, call) for name, call in calls]
        return _one_by_one(calls, losses)


def _one_by_one(calls: Sequence[tuple[str, Call]], losses: Tensor) -> list[LayerFlow]:
    """One backward pass for each step's loss."""
    if losses.grad_fn is None:
        raise ValueError("the losses have no graph: they must come from the model, under grad")
    steps = len(losses)
    for name, call in calls:
        if len(call.h) != steps:
            raise ValueError(f"{name} ran over {len(call.h)} steps, and there are {steps} losses")
    wanted = [p for _, call in calls for p in call.cell.parameters() if p.requires_grad]
    if not wanted:
        raise ValueError("the recurrent layers have no weight that requires a gradient")
    direct = [torch.zeros_like(call.h) for _, call in calls]
    indirect = [torch.zeros_like(call.h) for _, call in calls]
    lags = [call.h.new_zeros(steps, *call.h.shape[:2]) for _, call in calls]
    for step, loss in enumerate(losses):
        for _, call in calls:
            call.forget_gradients()
        torch.autograd.grad(loss.sum(), wanted, retain_graph=True, allow_unused=True)
        for place, (_, call) in enumerate(calls):
            gradient = call.gradient
            direct[place][step] = gradient[step]
            indirect[place][:step] += gradient[:step]
            lags[place][step] = gradient.norm(dim=2)
    for _, call in calls:
        call.forget_gradients()
    torch.autograd.grad(losses.sum(), wanted, retain_graph=True, allow_unused=True)
    return [
        _made(name, call, *parts)
        for (name, call), *parts in zip(calls, direct, indirect, lags, strict=True)
    ]


def _made(
    name: str,
    call: Call,
    direct: Tensor | None = None,
    indirect: Tensor | None = None,
    lags: Tensor | None = None,
) -> LayerFlow:
    outside = torch.zeros_like(call.h) if call.outside is None else call.outside
    back = torch.zeros_like(call.h) if call.back is None else call.back
    products = {weight: (made, of) for weight, made, of in call.products()}
    return LayerFlow(
        name=name,
        h=call.h,
        gradient=outside + back,
        outside=outside,
        back=back,
        direct=direct,
        indirect=indirect,
        lags=lags,
        weights={weight: summed(made, of) for weight, (made, of) in products.items()},
        _products=products,
    )


def summed(made: Tensor, of: Tensor | None) -> Tensor:
    """Sum what each row adds to the gradient of a weight."""
    rows = made.flatten(0, -2)
    return rows.sum(0) if of is None else rows.t() @ of.flatten(0, -2)
