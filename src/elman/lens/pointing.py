"""How losses pull at hidden states through a pointer: at those that its record was made of, too.

A loss that looks at earlier tokens pulls at their keys, and so at the states that made them, on no
way from step to step. All of it is differentiated in spans of the pointer's own size, each with the
record before it made anew. What windows of losses send back is put together from their messages'.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from elman.bptt import State
from elman.lens.chain import pulls
from elman.model.chatbot import Chatbot
from elman.model.pointer import QUERY_CHUNK_STEPS, Pointed, Pointer, TokenRecord


@dataclass(frozen=True)
class Pulled:
    """The gradients of K losses in a conversation of N steps.

    Args:
        first: the step from which the gradients are; before it, they are zero.
        nats: what each costs, (K,) float64.
        queries: their gradient in what they are predicted from, (steps, H).
        keys: their gradient in what the record is made of, (steps, H).
        hidden: what the vocabulary's logits of each are made of, (K, H).
        vocabulary_share: of each token's probability, the part that is not copied, (K,).
        ends: the step before which each span ended.
    """

    first: int
    nats: Tensor
    queries: Tensor
    keys: Tensor
    hidden: Tensor
    vocabulary_share: Tensor
    ends: list[int]


@dataclass(frozen=True)
class PointedConversation:
    """What a pointer reads: N tokens, and states that are leaves of no graph.

    Args:
        pointer: the chatbot's.
        ids: (N,) int64.
        queries: what each next token is predicted from, (N, H); zeros where none is.
        keys: what the record is made of, (N, H).
        record: the pointer's state before the first token, (1, size) each.
    """

    pointer: Pointer
    ids: Tensor
    queries: Tensor
    keys: Tensor
    record: State

    @classmethod
    def of(
        cls, chatbot: Chatbot, ids: Tensor, at: Tensor, hidden: Tensor, keys: Tensor, state: State
    ) -> "PointedConversation":
        """Make what a chatbot's pointer reads where it predicts the tokens `at` from `hidden`.

        Args:
            chatbot: has a pointer.
            ids: (N,) int64.
            at: (K,) int64.
            hidden: (K, H).
            keys: (N, H).
            state: the chatbot's before the first token, (1, size) each.
        """
        assert chatbot.pointer is not None
        queries = torch.zeros_like(keys).index_copy(0, at - 1, hidden)
        return cls(chatbot.pointer, ids, queries, keys.detach(), chatbot.split(state)[1])


def pulled_through(
    chatbot: Chatbot, read: PointedConversation, at: Tensor, of_weight: Tensor | None = None
) -> Pulled:
    """Compute the gradients of some losses.

    Args:
        chatbot: makes the logits.
        read: the conversation.
        at: which tokens are predicted, (K,), ascending, at least one, none of them the first.
        of_weight: the gradient of the output's weight is added to it, (V, H); None: not wanted.
    """
    spans = []
    while len(at):
        count = int((at <= int(at[0]) - 1 + QUERY_CHUNK_STEPS).sum())
        spans.append(_span(chatbot, read, at[:count], of_weight))
        at = at[count:]
    return _joined(spans, spans[0].first, spans[-1].ends[-1])


class Parts:
    """The losses of a conversation, each message's apart, so that any of them can be put together.

    Args:
        chatbot: makes the logits.
        read: the conversation.
        at: which tokens of each message are predicted, ascending; in all, at least one.
        of_weight: as for `pulled_through`.
    """

    def __init__(
        self, chatbot: Chatbot, read: PointedConversation, at: Sequence[Tensor], of_weight: Tensor
    ) -> None:
        self._at = [own for own in at if len(own)]
        self._parts = [pulled_through(chatbot, read, own, of_weight) for own in self._at]
        self.together = _joined(self._parts, 0, len(read.ids))
        """All of them, over all steps."""

    def keys(self, begin: int, end: int) -> Tensor:
        """Find the gradient in what the record is made of, (end - begin, H).

        It is of the losses of messages that lie between the two steps.
        """
        parts = [
            (part.first, part.keys)
            for at, part in zip(self._at, self._parts, strict=True)
            if begin < int(at[0]) and int(at[-1]) < end
        ]
        return _sum(parts, begin, end, self.together.queries)


def _span(
    chatbot: Chatbot, read: PointedConversation, at: Tensor, of_weight: Tensor | None
) -> Pulled:
    """Differentiate the losses of some tokens that one look of the pointer predicts."""
    pointer, begin, end = read.pointer, int(at[0]) - 1, int(at[-1])
    back = max(0, begin - pointer.length)
    keys = read.keys[back:end].detach().clone().requires_grad_()
    queries = read.queries[begin:end].detach().clone().requires_grad_()
    # Behind the record's length nothing is seen: what was before matters at the very start.
    before = read.record if back == 0 else tuple(map(torch.zeros_like, read.record))
    with torch.enable_grad():
        record, _ = pointer.record(read.ids[back:end, None], keys.unsqueeze(1), before)
        # The queries begin later than the record.
        ids, recorded, first = (part[:, begin - back :] for part in record)
        seen = TokenRecord(ids, recorded, first)
        logit_inputs, pointed = pointer.point(
            seen, queries.unsqueeze(1), read.ids[begin + 1 : end + 1, None]
        )
        rows = at - 1 - begin
        logit_inputs, pointed = logit_inputs[rows, 0], Pointed(*(each[rows, 0] for each in pointed))
        # p = g (p_vocabulary + exp(odds)), so that -log p comes in these two parts.
        odds, gate = pointed.odds.detach().double(), pointed.log_gate.detach().double()
        nats, gradient = pulls(chatbot, logit_inputs.detach(), read.ids[at], odds, of_weight)
        copied = (odds + nats).exp().to(logit_inputs.dtype)
        torch.autograd.backward(
            [logit_inputs, pointed.odds, pointed.log_gate],
            [gradient, -copied, -torch.ones_like(copied)],
        )
    assert queries.grad is not None
    assert keys.grad is not None
    pulled = F.pad(queries.grad, (0, 0, begin - back, 0))
    return Pulled(back, nats - gate, pulled, keys.grad, logit_inputs.detach(), 1 - copied, [end])


def _sum(pulled: Sequence[tuple[int, Tensor]], begin: int, end: int, like: Tensor) -> Tensor:
    """Add up pulls, each of which begins at a step, over the steps `begin` to `end`."""
    out = like.new_zeros(end - begin, like.shape[1])
    for first, pull in pulled:
        own = pull[max(0, begin - first) :]
        place = max(first, begin) - begin
        out[place : place + len(own)] += own
    return out


def _joined(parts: Sequence[Pulled], first: int, end: int) -> Pulled:
    """Join parts; their gradients are added up over the steps `first` to `end`."""
    like = parts[0].queries
    return Pulled(
        first,
        torch.cat([part.nats for part in parts]),
        _sum([(part.first, part.queries) for part in parts], first, end, like),
        _sum([(part.first, part.keys) for part in parts], first, end, like),
        torch.cat([part.hidden for part in parts]),
        torch.cat([part.vocabulary_share for part in parts]),
        [stop for part in parts for stop in part.ends],
    )
