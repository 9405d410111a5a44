"""One whole training step on five messages, with a network small enough to check by hand.

Each message is one of six symbols. The network reads a message (one-hot), takes one step of its
cell, and guesses the next message from its state:

    gx_t, gh_t = weight_ih x_t + bias_ih, weight_hh h_{t-1} + bias_hh
    state_t    = step(gx_t, gh_t, state_{t-1})
    p_t        = softmax(weight_out h_t + bias_out)
    loss_t     = -log p_t[the message that came next]

The backward pass is written out here as one loop in plain sight, over the cells' own `step` and
`step_backward`; tests hold it to the engine's and to autograd.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from elman.bptt import Cell, GRUCell, LSTMCell, RNNCell, State

MESSAGES = ("hi", "hello", "how are you?", "fine, you?", "fine")
END_SYMBOL = "(end)"
SYMBOLS = (*MESSAGES, END_SYMBOL)
TINY_CELLS: dict[str, type[Cell]] = {"rnn": RNNCell, "gru": GRUCell, "lstm": LSTMCell}
"""Cells with a recurrent weight to be explained."""

TINY_HIDDEN_SIZE = 3

CLIP = 1.0
SGD_LR = 0.1
ADAM_LR = 0.1
BETAS = (0.9, 0.999)
EPS = 1e-8


@dataclass(frozen=True)
class UnfoldedStep:
    """One message: what went forward through it, and what came back.

    All tensors are float64; H = 3, G = gates of the cell times 3, V = 6.

    Args:
        message: what was read.
        target: what came next.
        before: the state before, (H,) each: h, and c for an LSTM.
        after: the state after.
        gx: weight_ih x + bias_ih, (G,).
        gh: weight_hh h + bias_hh, (G,).
        p: the probability of each symbol to come next, (V,).
        loss: -log p of the target.
        direct: dloss_t/dh_t: this step's own loss, (H,).
        indirect: d(later losses)/dh_t: what came back from the next step, (H,); zeros where the
            unfolding was cut.
        dgx: gradient of gx, (G,).
        dgh: gradient of gh, (G,).
        back: gradient of the state before, handed to the step before, (H,) each.
        cut: whether `back` is cut off here, so that the step before gets nothing.
        shares: this step's part of the gradient of each weight.
    """

    message: str
    target: str
    before: State
    after: State
    gx: Tensor
    gh: Tensor
    p: Tensor
    loss: float
    direct: Tensor
    indirect: Tensor
    dgx: Tensor
    dgh: Tensor
    back: State
    cut: bool
    shares: dict[str, Tensor]

    @property
    def gradient(self) -> Tensor:
        """dL/dh_t: direct plus indirect, (H,)."""
        return self.direct + self.indirect


@dataclass(frozen=True)
class TinyStep:
    """One whole training step.

    Args:
        cell: "rnn", "gru" or "lstm".
        unfold: over how many messages the gradient goes back.
        seed: of the weights.
        weights: before the step.
        steps: one for each message.
        loss: the sum of the steps' losses.
        gradient: of each weight: the sum of the steps' shares.
        norm: of the whole gradient, before clipping.
        clipped: the gradient after clipping to a norm of `CLIP`.
        clipped_norm: its norm.
        sgd: the weights after a step of SGD.
        sgd_loss: the loss with them.
        adam: the weights after a first step of Adam.
        adam_loss: the loss with them.
    """

    cell: str
    unfold: int
    seed: int
    weights: dict[str, Tensor]
    steps: list[UnfoldedStep]
    loss: float
    gradient: dict[str, Tensor]
    norm: float
    clipped: dict[str, Tensor]
    clipped_norm: float
    sgd: dict[str, Tensor]
    sgd_loss: float
    adam: dict[str, Tensor]
    adam_loss: float


def tiny_step(cell: str = "rnn", unfold: int = 5, seed: int = 0) -> TinyStep:
    """Make one training step and keep every number of it.

    Args:
        cell: one of `TINY_CELLS`.
        unfold: the gradient is cut before every `unfold`-th message; 5 or more: never.
        seed: of the weights, which are drawn from -0.9 to 0.9 in tenths.

    Raises:
        ValueError: where `unfold` is below 1.
    """
    if unfold < 1:
        raise ValueError(f"unfold must be at least 1 message, got {unfold}")
    weights = draw_weights(cell, seed)
    steps = _backward(cell, weights, _forward(cell, weights), unfold)
    gradient = {name: torch.stack([step.shares[name] for step in steps]).sum(0) for name in weights}
    norm = _norm(gradient)
    scale = min(1.0, CLIP / norm)
    clipped = {name: scale * g for name, g in gradient.items()}
    sgd = {name: w - SGD_LR * clipped[name] for name, w in weights.items()}
    adam = {name: w - _adam_update(clipped[name]) for name, w in weights.items()}
    return TinyStep(
        cell=cell,
        unfold=unfold,
        seed=seed,
        weights=weights,
        steps=steps,
        loss=sum(step.loss for step in steps),
        gradient=gradient,
        norm=norm,
        clipped=clipped,
        clipped_norm=_norm(clipped),
        sgd=sgd,
        sgd_loss=_loss(cell, sgd),
        adam=adam,
        adam_loss=_loss(cell, adam),
    )


@dataclass(frozen=True)
class _Forward:
    before: State
    after: State
    gx: Tensor
    gh: Tensor
    p: Tensor
    loss: float


def _cell(name: str, weights: dict[str, Tensor]) -> Cell:
    cell = TINY_CELLS[name](len(SYMBOLS), TINY_HIDDEN_SIZE, dtype=torch.float64)
    cell.load_state_dict({key: weights[key] for key in cell.state_dict()})
    return cell


def draw_weights(cell: str, seed: int) -> dict[str, Tensor]:
    """Draw weights in tenths, so that they can be written down."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        name: tuple(w.shape)
        for name, w in TINY_CELLS[cell](6, TINY_HIDDEN_SIZE).state_dict().items()
    }
    shapes |= {"weight_out": (len(SYMBOLS), TINY_HIDDEN_SIZE), "bias_out": (len(SYMBOLS),)}
    return {
        name: torch.randint(-9, 10, shape, generator=generator).double() / 10
        for name, shape in shapes.items()
    }


@torch.no_grad()
def _forward(name: str, weights: dict[str, Tensor]) -> list[_Forward]:
    cell = _cell(name, weights)
    state = tuple(s[0] for s in cell.initial_state(1))
    steps = []
    for t in range(len(MESSAGES)):
        gx = weights["weight_ih"][:, t] + weights["bias_ih"]  # x is one-hot: it picks a column
        gh = weights["weight_hh"] @ state[0] + weights["bias_hh"]
        after, _ = cell.step(gx[None], gh[None], tuple(s[None] for s in state))
        before, state = state, tuple(s[0] for s in after)
        p = torch.softmax(weights["weight_out"] @ state[0] + weights["bias_out"], dim=0)
        steps.append(_Forward(before, state, gx, gh, p, -float(p[t + 1].log())))
    return steps


def _loss(cell: str, weights: dict[str, Tensor]) -> float:
    return sum(step.loss for step in _forward(cell, weights))


@torch.no_grad()
def _backward(
    name: str, weights: dict[str, Tensor], forward: list[_Forward], unfold: int
) -> list[UnfoldedStep]:
    cell = _cell(name, weights)
    nothing = tuple(torch.zeros(TINY_HIDDEN_SIZE, dtype=torch.float64) for _ in range(cell.states))
    dstate: State = nothing
    steps: list[UnfoldedStep] = []
    for t in reversed(range(len(MESSAGES))):
        now = forward[t]
        x = torch.eye(len(SYMBOLS), dtype=torch.float64)[t]
        dlogits = now.p - torch.eye(len(SYMBOLS), dtype=torch.float64)[t + 1]
        direct, indirect = weights["weight_out"].T @ dlogits, dstate[0]
        _, saved = cell.step(now.gx[None], now.gh[None], tuple(s[None] for s in now.before))
        dgx, dgh, dprev, _ = cell.step_backward(
            saved, tuple(d[None] for d in (direct + indirect, *dstate[1:]))
        )
        dgx, dgh = dgx[0], dgh[0]
        back = (dprev[0][0] + weights["weight_hh"].T @ dgh, *(d[0] for d in dprev[1:]))
        cut = t % unfold == 0
        dstate = nothing if cut else back
        steps.append(
            UnfoldedStep(
                message=SYMBOLS[t],
                target=SYMBOLS[t + 1],
                **vars(now),
                direct=direct,
                indirect=indirect,
                dgx=dgx,
                dgh=dgh,
                back=back,
                cut=cut and t > 0,
                shares={
                    "weight_ih": torch.outer(dgx, x),
                    "weight_hh": torch.outer(dgh, now.before[0]),
                    "bias_ih": dgx,
                    "bias_hh": dgh,
                    "weight_out": torch.outer(dlogits, now.after[0]),
                    "bias_out": dlogits,
                },
            )
        )
    return steps[::-1]


def _norm(gradient: dict[str, Tensor]) -> float:
    """Measure all weights' gradients together, as one long vector."""
    return float(torch.cat([g.flatten() for g in gradient.values()]).norm())


def _adam_update(gradient: Tensor) -> Tensor:
    """Take the first step of Adam (Kingma and Ba 2015), with both moments zero before it."""
    first = (1 - BETAS[0]) * gradient / (1 - BETAS[0])
    second = (1 - BETAS[1]) * gradient**2 / (1 - BETAS[1])
    return ADAM_LR * first / (second.sqrt() + EPS)
