"""A conversation as one chain of steps, as the layers see it that carry its state.

Where a step reads a token, the loss of a message pulls at the steps in it. Where a step reads a
message, the loss of the next message pulls at it. Which loss pulls at which output does not depend
on how the chain is unfolded, and is computed once. So every gradient of the lens comes from one
function, `pulled`.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from elman.bptt import State
from elman.lens.tracing import TracingUnfold
from elman.model.blocks import PackedStack, RecurrentStack
from elman.model.chatbot import LOGIT_CHUNK_TOKENS, Chatbot

Pulls = Callable[[int, int, bool], Tensor]

MAX_BATCH_STEPS = 4096
"""Rows times steps that are differentiated at once: bounds memory."""


AnyModule = TypeVar("AnyModule", bound=nn.Module)


def apart(module: AnyModule) -> AnyModule:
    """Make modules of their own that share the tensors of the given ones.

    Hooks and gradients there do not reach the given ones, which others may use meanwhile. Neither
    may be trained then.
    """
    twin = copy.copy(module)
    twin._parameters = {
        name: None if own is None else nn.Parameter(own.detach(), requires_grad=False)
        for name, own in module._parameters.items()
    }
    # What has no weights, such as what was counted, is only ever read.
    twin._modules = {
        name: apart(part) if part is not None and any(True for _ in part.parameters()) else part
        for name, part in module._modules.items()
    }
    twin._forward_pre_hooks = OrderedDict(module._forward_pre_hooks)
    twin._forward_hooks = OrderedDict(module._forward_hooks)
    return twin


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Switch off dropout and the gradient of the weights; on leaving, all is as it was."""
    modes = [(part, part.training) for part in module.modules()]
    learned = [p for p in module.parameters() if p.requires_grad]
    for parameter in learned:
        parameter.requires_grad_(False)
    module.eval()
    try:
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
        for part, training in modes:
            part.training = training


@dataclass(frozen=True)
class Chain:
    """N steps over M messages.

    Args:
        stack: the layers that take them.
        x: what they read, (N, H).
        pulls: called with `begin`, `end` and `recorded`, returns dLoss/d(output) at the steps
            `begin` to `end`, (end - begin, H). It is of the losses between these steps alone, and
            with `recorded` also through the outputs that made the record of a pointer.
        ends: the step after which each message has been read, (M,).
        own_steps: whether a message's loss sits on its own steps (tokens), or on the step before.
        before_ends: the state before each of these steps, (M, size) each.
        start: the state before the first step, (1, size) each.
    """

    stack: RecurrentStack
    x: Tensor
    pulls: Pulls
    ends: list[int]
    own_steps: bool
    before_ends: State
    start: State


@dataclass(frozen=True)
class Segment:
    """A piece of a chain that is differentiated by itself, from the end of a message on.

    Args:
        first: the message at whose last step it begins; -1: it begins with the chain.
        begin, end: its steps.
        marks: message and step within the segment of every state whose gradient is wanted.
    """

    first: int
    begin: int
    end: int
    marks: list[tuple[int, int]]


def window(chain: Chain, first: int, last: int) -> Segment:
    """Make the segment that gives the states after messages `first` to `last` - 1 their gradient.

    It ends with the loss of message `last`.
    """
    begin = chain.ends[first]
    marks = [(n, chain.ends[n] - begin) for n in range(first, last)]
    return Segment(first, begin, chain.ends[last if chain.own_steps else last - 1] + 1, marks)


def carried(stack: RecurrentStack, x: Tensor, ends: Sequence[int], state: State) -> State:
    """Carry a state on to just before each of some steps: (ends, size) each."""
    # Packed once, not anew for each message; there is no packed form in double precision.
    run = PackedStack(stack, "float32") if x.dtype == torch.float32 else stack
    before = []
    begin = 0
    with torch.no_grad():
        for end in ends:
            if end > begin:
                _, state = run(x[begin:end].unsqueeze(1), state)
            before.append(state)
            begin = end
    return tuple(torch.cat(parts) for parts in zip(*before, strict=True))


def pulled(
    stack: RecurrentStack,
    x: Tensor,
    state: State,
    pull: Callable[[Tensor], Tensor],
    cut: Tensor | None = None,
) -> list[Tensor]:
    """Find the gradient of h in every layer at every step, from how losses pull at the outputs.

    Args:
        stack: the layers, `frozen`.
        x: (T, B, H).
        state: before the first step.
        pull: takes the outputs, (T, B, H), to the losses' gradients in them.
        cut: as in `elman.bptt.recurrence`.

    Returns:
        For each layer dLoss/dh of its steps, (T, B, H).
    """
    traced = TracingUnfold(projections=False)
    with torch.enable_grad():
        read = x.detach().clone().requires_grad_()
        hidden, _ = stack(read, state, None, cut, traced)
        torch.autograd.grad(hidden, read, pull(hidden.detach()))
    return [call.gradient for call in traced.calls]


def over_segments(
    chain: Chain, segments: Sequence[Segment], cut_everywhere: bool = False
) -> Iterator[tuple[Segment, list[Tensor]]]:
    """Differentiate segments side by side, those of similar length together.

    Yields:
        Each segment, and for each layer dLoss/dh of its steps, (T, H).
    """
    order = sorted(segments, key=lambda segment: segment.begin - segment.end)
    while order:
        longest = order[0].end - order[0].begin
        fitting = max(1, MAX_BATCH_STEPS // longest)
        some, order = order[:fitting], order[fitting:]
        x = nn.utils.rnn.pad_sequence([chain.x[segment.begin : segment.end] for segment in some])
        pull = nn.utils.rnn.pad_sequence(
            [chain.pulls(segment.begin, segment.end, not cut_everywhere) for segment in some]
        )
        firsts = torch.tensor([segment.first for segment in some])
        starts = zip(chain.before_ends, chain.start, strict=True)
        state = tuple(torch.cat([parts, first])[firsts] for parts, first in starts)
        cut = torch.zeros(x.shape[:2], dtype=torch.bool) if cut_everywhere else None
        layers = pulled(chain.stack, x, state, partial(_known, pull), cut)
        for row, segment in enumerate(some):
            yield segment, [layer[: segment.end - segment.begin, row] for layer in layers]


def _known(pull: Tensor, _: Tensor) -> Tensor:
    return pull


def unfolded(chain: Chain, unfold: int, states: int) -> Tensor:
    """Find dLoss/dh after each message where the gradient is cut every `unfold` messages.

    The windows are the trainer's: states 1 to K get what the K replies after them send back, then
    the next K. With an `unfold` of 1 it is the direct part: from the very next message alone.

    Args:
        chain: of at least two messages.
        unfold: K.
        states: how many, from the first on; the loss after the last of them counts.

    Returns:
        (states, layers, H)
    """
    segments = [
        window(chain, first, min(first + unfold, states)) for first in range(0, states, unfold)
    ]
    layers = len(chain.stack.blocks)
    out = chain.x.new_zeros(states, layers, chain.x.shape[1])
    for segment, steps in over_segments(chain, segments):
        for message, step in segment.marks:
            out[message] = torch.stack([layer[step] for layer in steps])
    return out


def at_own_steps(pull: Tensor) -> Pulls:
    """Make `Chain.pulls` of losses that pull at their own steps and nowhere else, (N, H)."""
    return lambda begin, end, recorded: pull[begin:end]


def pulls(
    chatbot: Chatbot,
    hidden: Tensor,
    targets: Tensor,
    odds: Tensor | None = None,
    of_weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute cross-entropy and its gradient by hand.

    Args:
        chatbot: makes the logits.
        hidden: (N, H).
        targets: (N,) int64.
        odds: log of what is added to p of each, (N,) float64; None: nothing is.
        of_weight: the gradient of the output's weight is added to it, (V, H); None: not wanted.

    Returns:
        -log p of each target in nats, (N,) float64; and its gradient in `hidden`, (N, H).
    """
    weight, _ = chatbot.output_layer
    nats, own = [], []
    beside = torch.full(targets.shape, -torch.inf, dtype=torch.float64) if odds is None else odds
    columns = (each.split(LOGIT_CHUNK_TOKENS) for each in (hidden, targets, beside))
    for h, ids, more in zip(*columns, strict=True):
        log_p = chatbot.logits(h).log_softmax(1)
        rows = torch.arange(len(ids))
        costs = -torch.logaddexp(log_p[rows, ids].double(), more)
        nats.append(costs)
        dlogits = log_p.exp_()
        dlogits[rows, ids] -= 1
        if odds is not None:  # what comes beside takes its part of the pull
            dlogits *= (1 - (more + costs).exp()).to(dlogits.dtype).unsqueeze(1)
        own.append(dlogits @ weight)
        if of_weight is not None:
            of_weight.addmm_(dlogits.t(), h)
    if not nats:
        return hidden.new_zeros(0).double(), hidden
    return torch.cat(nats), torch.cat(own)


def along_output(chatbot: Chatbot, hidden: Tensor, targets: Tensor, direction: Tensor) -> Tensor:
    """Measure each target's own gradient of the output's weight along a direction, (N,).

    Nothing is copied.
    """
    out = []
    columns = (each.split(LOGIT_CHUNK_TOKENS) for each in (hidden, targets))
    for h, ids in zip(*columns, strict=True):
        p = chatbot.logits(h).softmax(1)
        along = h @ direction.t()
        rows = torch.arange(len(ids))
        out.append((p * along).sum(1) - along[rows, ids])
    return torch.cat(out) if out else hidden.new_zeros(0)
