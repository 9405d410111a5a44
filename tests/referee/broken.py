"""Recurrent layers, each broken in one way; most after a bug of a public project.

`Plain`, `Stacked`, `Resetting`, `Ragged` and `Gated` are right: the broken ones derive from them.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

H = Tensor | None


class Plain(nn.Module):
    """h_t = tanh(x_t w + h_{t-1} u + b); x is (T, B, I)."""

    def __init__(self, inputs: int = 3, size: int = 4) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(inputs, size) / 2)
        self.u = nn.Parameter(torch.randn(size, size) / 2)
        self.b = nn.Parameter(torch.randn(size) / 2)

    def enter(self, x: Tensor, h: H) -> Tensor:
        return x.new_zeros(x.shape[1], len(self.b)) if h is None else h

    def before(self, t: int, h: Tensor) -> Tensor:
        return h

    def weights(self, t: int, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        return self.w, self.u, self.b

    def leave(self, outputs: list[Tensor]) -> Tensor:
        return outputs[-1]

    def forward(self, x: Tensor, h: H = None) -> Any:
        state, outputs = self.enter(x, h), []
        for t in range(len(x)):
            w, u, b = self.weights(t, len(x))
            state = torch.tanh(x[t] @ w + self.before(t, state) @ u + b)
            outputs.append(state)
        return torch.stack(outputs), self.leave(outputs)


class DetachedAtTwelve(Plain):
    def before(self, t: int, h: Tensor) -> Tensor:
        return h.detach() if t == 12 else h


class DetachedEveryFive(Plain):
    def before(self, t: int, h: Tensor) -> Tensor:
        return h.detach() if t and t % 5 == 0 else h


class DetachedAlways(Plain):
    """As in pytorch-tutorial#90, where it was asked why."""

    def before(self, t: int, h: Tensor) -> Tensor:
        return h.detach()


class Sliding(Plain):
    """Each output is differentiated through six steps and no more."""

    def forward(self, x: Tensor, h: H = None) -> Any:
        with torch.no_grad():
            states = [self.enter(x, h), *super().forward(x, h)[0]]
        outputs = []
        for t in range(len(x)):
            first = max(0, t - 5)
            outputs.append(super().forward(x[first : t + 1], states[first])[1])
        return torch.stack(outputs), outputs[-1]


class CutOff(Plain):
    def forward(self, x: Tensor, h: H = None) -> Any:
        with torch.no_grad():
            return super().forward(x, h)


class LastStepOnly(Plain):
    """As pytorch#184528, where gradients of weights that a scan closes over are wrong."""

    def weights(self, t: int, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        last = t == steps - 1
        return self.w, self.u if last else self.u.detach(), self.b


class FirstStepLeftOut(Plain):
    def weights(self, t: int, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        return self.w if t else self.w.detach(), self.u, self.b


class _ForwardOrder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, h: Tensor, u: Tensor) -> Tensor:
        outputs = []
        state = h
        for row in a:
            state = torch.tanh(row + state @ u)
            outputs.append(state)
        ctx.save_for_backward(torch.stack(outputs), h, u)
        return torch.stack(outputs)

    @staticmethod
    def backward(ctx: Any, grads: Tensor) -> Any:
        h, first, u = ctx.saved_tensors
        slopes = 1 - h * h
        jacobians = torch.einsum("tbj,ij->tbji", slopes, u)  # of h_t by h_{t-1}
        da, du, dfirst = torch.zeros_like(h), torch.zeros_like(u), torch.zeros_like(first)
        for last in grads.flatten(1).any(1).nonzero().flatten().tolist():
            for t in range(last + 1):
                back = grads[last]
                for s in range(t + 1, last + 1):  # and should be from the last to the first
                    back = torch.einsum("bj,bji->bi", back, jacobians[s])
                d = back * slopes[t]
                da[t] += d
                du += (h[t - 1] if t else first).t() @ d
            back = grads[last]
            for s in range(last + 1):
                back = torch.einsum("bj,bji->bi", back, jacobians[s])
            dfirst += back
        return da, dfirst, du


class ForwardOrder(Plain):
    """As axon#644: the steps' Jacobians are multiplied in the order of the forward pass."""

    def forward(self, x: Tensor, h: H = None) -> Any:
        outputs = _ForwardOrder.apply(x @ self.w + self.b, self.enter(x, h), self.u)
        return outputs, outputs[-1].clone()


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * grad


class TwiceAsLarge(Plain):
    """As mxnet#21143, where the gradient of the input is wrong."""

    def forward(self, x: Tensor, h: H = None) -> Any:
        return super().forward(_Scaled.apply(x), h)


class _WrongInput(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, w = ctx.saved_tensors
        return grad @ w.t(), torch.einsum("tbi,tbj->ij", x.roll(1, 0), grad)


class InputOverwritten(Plain):
    """As mxnet#17898: a weight's gradient is made of the wrong input."""

    def forward(self, x: Tensor, h: H = None) -> Any:
        state, outputs = self.enter(x, h), []
        for row in _WrongInput.apply(x, self.w):
            state = torch.tanh(row + state @ self.u + self.b)
            outputs.append(state)
        return torch.stack(outputs), state


class BiasTwice(Plain):
    """As mxnet#17086: gradients of biases are too large."""

    def weights(self, t: int, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        return self.w, self.u, _Scaled.apply(self.b)


class StateIgnored(Plain):
    def enter(self, x: Tensor, h: H) -> Tensor:
        return super().enter(x, None)


class StateDetachedOnEntry(Plain):
    def enter(self, x: Tensor, h: H) -> Tensor:
        return super().enter(x, None if h is None else h.detach())


class StateDetachedOnReturn(Plain):
    def leave(self, outputs: list[Tensor]) -> Tensor:
        return outputs[-1].detach()


class StateOneStepEarly(Plain):
    def leave(self, outputs: list[Tensor]) -> Tensor:
        return outputs[-2 if len(outputs) > 1 else -1]


class KeepsState(Plain):
    """As keras's `stateful`, left on."""

    kept: H = None

    def enter(self, x: Tensor, h: H) -> Tensor:
        if h is None and self.kept is not None and self.kept.shape[0] == x.shape[1]:
            return self.kept.to(x.dtype)
        return super().enter(x, h)

    def leave(self, outputs: list[Tensor]) -> Tensor:
        self.kept = outputs[-1].detach()
        return outputs[-1]


class RowsMixed(Plain):
    def before(self, t: int, h: Tensor) -> Tensor:
        return h - h.mean(0, keepdim=True) / 4


class LooksAhead(Plain):
    def forward(self, x: Tensor, h: H = None) -> Any:
        return super().forward(x - x.mean(0, keepdim=True), h)


class OneRowSqueezed(Plain):
    def forward(self, x: Tensor, h: H = None) -> Any:
        outputs, state = super().forward(x, h)
        return outputs.squeeze(), state


class InSingle(Plain):
    """As axon#646: the buffer of outputs is always of 32 bits."""

    def forward(self, x: Tensor, h: H = None) -> Any:
        outputs, state = super().forward(x, h)
        return outputs.float().to(x.dtype), state


class Views(Plain):
    def forward(self, x: Tensor, h: H = None) -> Any:
        return super().forward(x.view(-1, x.shape[2]).view(x.shape), h)


class WritesInput(Plain):
    def forward(self, x: Tensor, h: H = None) -> Any:
        outputs = super().forward(x.clone(), h)
        with torch.no_grad():
            x.data[-1].mul_(2)
        return outputs


class CountsItsCalls(Plain):
    """Noise by a count of calls: not the same when a checkpoint runs it again."""

    calls = 0

    def before(self, t: int, h: Tensor) -> Tensor:
        if not self.training:
            return h
        self.calls += 1
        return h * (1 + self.calls % 7 / 10)


class Stacked(nn.Module):
    """Two layers and dropout between them."""

    def __init__(self, inputs: int = 3, size: int = 4) -> None:
        super().__init__()
        self.dropout, self.num_layers = 0.5, 2
        self.lower, self.upper = Plain(inputs, size), Plain(size, size)

    def drop(self, h: Tensor) -> Tensor:
        return F.dropout(h, self.dropout, self.training)

    def forward(self, x: Tensor, hx: Any = None) -> Any:
        first, second = (None, None) if hx is None else hx
        h, a = self.lower(x, first)
        h, b = self.upper(self.drop(h), second)
        return h, (a, b)


class DropoutForgotten(Stacked):
    """As pytorch#190056: the backward pass ignores dropout."""

    def drop(self, h: Tensor) -> Tensor:
        return h + (super().drop(h) - h).detach()


class DropoutDrawnOnce(Stacked):
    """As pytorch#185351: each call drops the same units."""

    def drop(self, h: Tensor) -> Tensor:
        if not self.training:
            return h
        kept = torch.rand(h.shape, generator=torch.Generator().manual_seed(0)) < 0.5
        return h * kept.to(h.dtype) * 2


class DropoutInEval(Stacked):
    def drop(self, h: Tensor) -> Tensor:
        return F.dropout(h, self.dropout)


class NoDropout(Stacked):
    def drop(self, h: Tensor) -> Tensor:
        return h


class _Mixed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Any:
        return first.clone(), second.clone()

    @staticmethod
    def backward(ctx: Any, first: Tensor, second: Tensor) -> Any:
        return second, second


class LayersMixed(Stacked):
    """As pytorch#153679: each layer gets the gradient of the last one."""

    def forward(self, x: Tensor, hx: Any = None) -> Any:
        first, second = (None, None) if hx is None else hx
        a, b = _Mixed.apply(self.lower.u, self.upper.u)
        h, one = torch.func.functional_call(self.lower, {"u": a}, (x, first))
        h, two = torch.func.functional_call(self.upper, {"u": b}, (self.drop(h), second))
        return h, (one, two)


class Resetting(nn.Module):
    """An LSTM that starts again where `reset` is 1, (T, B)."""

    def __init__(self, inputs: int = 3, size: int = 4) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(inputs, size)

    def forget(self, keep: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        return h * keep, c * keep

    def shifted(self, reset: Tensor) -> Tensor:
        return reset

    def forward(self, x: Tensor, hx: Any = None, reset: H = None) -> Any:
        if hx is None:
            hx = (x.new_zeros(x.shape[1], self.cell.hidden_size),) * 2
        reset = None if reset is None else self.shifted(reset)
        outputs = []
        for t, row in enumerate(x):
            if reset is not None:
                hx = self.forget(1 - reset[t].unsqueeze(1), *hx)
            hx = self.cell(row, hx)
            outputs.append(hx[0])
        return torch.stack(outputs), hx


class ResetKeepsCell(Resetting):
    def forget(self, keep: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        return h * keep, c


class ResetLate(Resetting):
    def shifted(self, reset: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(reset[:1]), reset[:-1]])


class ResetOfAllRows(Resetting):
    def shifted(self, reset: Tensor) -> Tensor:
        return reset.amax(1, keepdim=True).expand_as(reset)


class ResetPassesGradient(Resetting):
    def forget(self, keep: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        return h - (h * (1 - keep)).detach(), c * keep


class Ragged(Plain):
    """Rows of different lengths, (B,)."""

    def last(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        return outputs[lengths - 1, torch.arange(len(lengths))]

    def forward(self, x: Tensor, h: H = None, lengths: H = None) -> Any:
        outputs, state = super().forward(x, h)
        return outputs, state if lengths is None else self.last(outputs, lengths)


class PaddingRunsOn(Ragged):
    def last(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        return outputs[-1]


class Gated(nn.Module):
    """An LSTM with torch's names, made by hand."""

    order = "ifgo"

    def __init__(self, inputs: int = 3, size: int = 4) -> None:
        super().__init__()
        self.weight_ih_l0 = nn.Parameter(torch.randn(4 * size, inputs) / 2)
        self.weight_hh_l0 = nn.Parameter(torch.randn(4 * size, size) / 2)

    def forward(self, x: Tensor, hx: Any = None) -> Any:
        size = self.weight_hh_l0.shape[1]
        h, c = hx or (x.new_zeros(x.shape[1], size),) * 2
        outputs = []
        for row in x:
            parts = (row @ self.weight_ih_l0.t() + h @ self.weight_hh_l0.t()).chunk(4, 1)
            gate = dict(zip(self.order, parts, strict=True))
            c = gate["f"].sigmoid() * c + gate["i"].sigmoid() * gate["g"].tanh()
            h = gate["o"].sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs), (h, c)


class GatesInAnotherOrder(Gated):
    order = "ifog"


class BatchFirst(nn.Module):
    """x is (B, T, I), and no state comes out."""

    def __init__(self, inputs: int = 3, size: int = 4) -> None:
        super().__init__()
        self.inner = Plain(inputs, size)

    def forward(self, x: Tensor) -> Any:
        return self.inner(x.transpose(0, 1))[0].transpose(0, 1)


class BatchFirstDetached(BatchFirst):
    def __init__(self, inputs: int = 3, size: int = 4) -> None:
        super().__init__()
        self.inner = DetachedEveryFive(inputs, size)


# What the referee cannot check, each for another reason.


class NotRecurrent(nn.Linear):
    def __init__(self, inputs: int = 3, size: int = 4) -> None:
        super().__init__(inputs, size)


class LastOutputOnly(Plain):
    def forward(self, x: Tensor, h: H = None) -> Any:
        return super().forward(x, h)[1]


class ReturnsText(Plain):
    def forward(self, x: Tensor, h: H = None) -> Any:
        return "ready"


class NeedsGPU(Plain):
    def forward(self, x: Tensor, h: H = None) -> Any:
        return super().forward(x.cuda(), h)


class Raises(Plain):
    def forward(self, x: Tensor, h: H = None) -> Any:
        raise KeyError("no such\nthing")


class RaisesForLong(Plain):
    def before(self, t: int, h: Tensor) -> Tensor:
        if t > 9:
            raise IndexError("position 10 is out of range")
        return h


class TakesMuch(Plain):
    def __init__(self, config: dict) -> None:
        super().__init__(**config)


class EndsTheProcess(Plain):
    def forward(self, x: Tensor, h: H = None) -> Any:
        import os

        print("about to end")
        os._exit(9)


def made() -> nn.Module:
    return nn.GRU(6, 5, batch_first=True)


def by_function(x: Tensor, h: H = None) -> Any:
    torch.manual_seed(0)
    return Plain().double()(x, h)


NUMBER = 3


class TakesNoLayers(Plain):
    """Its constructor names an argument, and refuses it."""

    def __init__(self, inputs: int = 3, size: int = 4, num_layers: int = 1) -> None:
        if num_layers > 1:
            raise NotImplementedError("one layer only")
        super().__init__(inputs, size)


class RefusesItsState(Plain):
    def enter(self, x: Tensor, h: H) -> Tensor:
        if h is not None:
            raise KeyError("h0")
        return super().enter(x, h)
