"""The actual backward pass over a whole conversation, and what each message gives each weight."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from elman.bptt import State
from elman.lens.chain import Chain, Pulls, at_own_steps, carried, frozen, pulls
from elman.lens.pointing import Parts, PointedConversation
from elman.lens.tracing import Call
from elman.lens.units import Units, gates_of, states_before, units
from elman.lens.weights import Output, Shares, WeightUses
from elman.model.chatbot import Chatbot
from elman.model.packing import owner_of_tokens, predicted_places, token_ids


@dataclass(frozen=True)
class Whole:
    """One conversation of M messages, differentiated from its last loss to its first step.

    The loss is the sum of -log p in nats over the tokens that count.

    Args:
        chain: the steps that carry its state.
        nats: of each message, (M,) float64; 0 where it does not count.
        token_nats: of each message's tokens, its role first; 0 where one does not count.
        state: h after each message, (M, layers, H).
        gradient: dLoss/dh after each message, (M, layers, H).
        steps: dLoss/dh of every step of the chain, (layers, N, H).
        recorded: norm of what comes back through a pointer's record at each message's steps, (M,);
            None where there is no pointer.
        shares: of each weight's gradient, by message, (M,); each sums to 1.
        norms: of each weight's gradient.
        units: of the chain's layers.
    """

    chain: Chain
    nats: Tensor
    token_nats: list[Tensor]
    state: Tensor
    gradient: Tensor
    steps: Tensor
    recorded: Tensor | None
    shares: dict[str, Tensor]
    norms: dict[str, float]
    units: list[Units]


def differentiate(
    chatbot: Chatbot,
    messages: Sequence[np.ndarray],
    counted: Sequence[bool],
    start: State | None = None,
) -> Whole:
    """Run one forward and one backward pass over a conversation.

    Args:
        chatbot: of any memory.
        messages: at least two, each from its role to its END.
        counted: whose text and END count in the loss.
        start: the chatbot's state before them; None: nothing was said before.
    """
    start = chatbot.initial_state(1) if start is None else start
    with frozen(chatbot), torch.enable_grad(), WeightUses(chatbot) as uses:
        stack, unrolled = chatbot.through_time, chatbot.unroll([messages], start)
        ids, owner = token_ids(messages), owner_of_tokens(messages)
        at = predicted_places(messages, counted)
        (x,) = unrolled.x
        outputs = stack(x.unsqueeze(1), stack.own_state(start))[0].squeeze(1)
        # Cut in two: first from the losses to the outputs, then from the outputs to what was read.
        leaf = outputs.detach().requires_grad_()
        hidden = unrolled.predict([leaf], [counted])
        shares, of_output = Shares(len(messages)), torch.zeros_like(chatbot.output_layer[0])
        logit_inputs, vocabulary_share, recorded, parts = hidden.detach(), None, None, None
        if chatbot.pointer is None:
            nats, gradient = pulls(chatbot, logit_inputs, ids[at], None, of_output)
        else:
            keys = outputs if unrolled.keys is None else unrolled.keys[0]
            read = PointedConversation.of(chatbot, ids, at, logit_inputs, keys, start)
            parts = Parts(
                chatbot, read, [at[owner[at] == n] for n in range(len(messages))], of_output
            )
            found = parts.together
            nats, logit_inputs, vocabulary_share = found.nats, found.hidden, found.vocabulary_share
            gradient = found.queries[at - 1]
            shares.add(uses.pointer_rows(found.ends, owner))
            recorded = _by_message(found.keys, owner, len(messages))
        torch.autograd.backward(hidden, gradient)
        assert leaf.grad is not None
        pull, pulls_of = leaf.grad, at_own_steps(leaf.grad)
        ways = [(outputs, pull)]
        if parts is not None and unrolled.keys is None:
            ways = [(outputs, pull + parts.together.keys)]
            pulls_of = _with_record(pull, parts)
        elif parts is not None:
            ways.append((keys, parts.together.keys))
        # What both ways lead to hears of both at once.
        torch.autograd.backward([way for way, _ in ways], [gradient for _, gradient in ways])
        shares.add(uses.rows(unrolled.owners))
        output = Output(logit_inputs, ids[at], owner[at], vocabulary_share, of_output)
        shares.add_output(chatbot, uses.embedded(unrolled.owners), output)
        token_nats = torch.zeros(len(ids), dtype=torch.float64)
        token_nats[at] = nats
        by_message = list(token_nats.split([len(message) for message in messages]))
        ends = np.cumsum([chatbot.steps_of(message) for message in messages]) - 1
        return _whole(
            chatbot, x.detach(), pulls_of, ends.tolist(), uses.layers(stack), by_message, shares,
            recorded,
        )  # fmt: skip


def _with_record(pull: Tensor, parts: Parts) -> Pulls:
    """Make `Chain.pulls` of losses that also pull through a pointer at the steps it looked at."""

    def pulls_of(begin: int, end: int, recorded: bool) -> Tensor:
        own = pull[begin:end]
        return own + parts.keys(begin, end) if recorded else own

    return pulls_of


def _by_message(gradient: Tensor, owner: Tensor, count: int) -> Tensor:
    """Measure the norm of each message's rows, (count,)."""
    squares = gradient.new_zeros(count).index_add_(0, owner, gradient.square().sum(1))
    return squares.sqrt()


def _whole(
    chatbot: Chatbot,
    x: Tensor,
    pulls_of: Pulls,
    ends: list[int],
    calls: list[Call],
    token_nats: list[Tensor],
    shares: Shares,
    recorded: Tensor | None,
) -> Whole:
    stack = chatbot.through_time
    gates = [gates_of(call) for call in calls]
    at = torch.tensor(ends)
    layers = [states_before(call, own, at) for call, own in zip(calls, gates, strict=True)]
    first = tuple(part for call in calls for part in call.state)
    if None in layers:  # a cell of the user's own
        before_ends = carried(stack, x, ends, first)
    else:
        before_ends = tuple(part for layer in layers for part in layer or ())
    steps = torch.stack([call.gradient.squeeze(1) for call in calls])
    own_steps = chatbot.step_unit == "tokens"
    return Whole(
        chain=Chain(stack, x, pulls_of, ends, own_steps, before_ends, first),
        nats=torch.stack([values.sum() for values in token_nats]),
        token_nats=token_nats,
        state=torch.stack([call.h.squeeze(1)[at] for call in calls], dim=1),
        gradient=steps[:, at].transpose(0, 1),
        steps=steps,
        recorded=recorded,
        shares=shares.shares,
        norms=shares.norms,
        units=[units(call, own) for call, own in zip(calls, gates, strict=True)],
    )
