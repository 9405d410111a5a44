"""How losses pull at hidden states through a pointer: at those that its record was made of, too.

A loss that looks at earlier tokens pulls at their keys, and so at the states that made them, on no
way from step to step. All of it is differentiated in spans of the pointer's own size, each with the
record before it made anew; so a long conversation needs no more memory than a short one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elman.bptt import State
from elman.lens.chain import pulls
from elman.model.chatbot import Chatbot
from elman.model.pointer import QUERIES, Pointed, Pointer

Made = Callable[[str, Tensor, Tensor | None, Tensor], None]
"""Is told of each weight of the pointer: its name, the gradients of what it made in some steps,
(n, out), what it was applied to, (n, in), or None for a bias; and which steps, (n,).
"""


@dataclass(frozen=True)
class Pulled:
    """Of K losses in a conversation of N steps.

    Args:
        first: the step from which the gradients are; before it, they are zero.
        nats: what each costs, (K,) float64.
        queries: their gradient in what they are predicted from, (steps, H).
        keys: their gradient in what the record is made of, (steps, H).
        told: what the vocabulary's logits of each are made of, (K, H).
        odds: what is pointed at each token, as `Pointed` has it, (K,) float64.
        spelled: how much of each token's probability is the vocabulary's and not copied, (K,).
    """

    first: int
    nats: Tensor
    queries: Tensor
    keys: Tensor
    told: Tensor
    odds: Tensor
    spelled: Tensor

    @property
    def both(self) -> Tensor:
        """In the memory of tokens, where the same states are both, (steps, H)."""
        return self.queries + self.keys


@dataclass(frozen=True)
class Conversation:
    """What a pointer reads: N tokens, and states that are leaves of no graph.

    Args:
        pointer: the chatbot's.
        ids: (N,) int64.
        queries: what each next token is predicted from, (N, H).
        keys: what the record is made of, (N, H); in the memory of tokens the same.
        record: the pointer's state before the first token, one lane.
    """

    pointer: Pointer
    ids: Tensor
    queries: Tensor
    keys: Tensor
    record: State


def pulled_through(
    chatbot: Chatbot,
    conversation: Conversation,
    at: Tensor,
    made: Made | None = None,
) -> Pulled:
    """The gradients of some losses, with the pointer's own weights' if somebody wants to know.

    Args:
        chatbot: makes the logits.
        conversation: what is read.
        at: which tokens are predicted, (K,), ascending, none of them the first.
        made: is told what the gradients of the pointer's weights are made of.
    """
    if not len(at):
        none = conversation.queries[:0]
        flat = none.sum(1)
        return Pulled(0, flat.double(), none, none, none, flat.double(), flat)
    first = max(0, int(at[0]) - 1 - conversation.pointer.length)
    queries = torch.zeros_like(conversation.queries[first : int(at[-1])])
    keys = torch.zeros_like(queries)
    spans = []
    done = 0
    while done < len(at):
        begin = int(at[done]) - 1
        count = int((at[done:] <= begin + QUERIES).sum())
        own = at[done : done + count]
        done += count
        back = max(0, begin - conversation.pointer.length)
        span = _Span(conversation, back, begin, int(own[-1]), made)
        found = span.backward(chatbot, own)
        end = int(own[-1]) - first
        queries[begin - first : end] += found.queries
        keys[back - first : end] += found.keys
        spans.append((found.nats, found.told, found.odds, found.spelled))
    nats, told, odds, spelled = (torch.cat(parts) for parts in zip(*spans, strict=True))
    return Pulled(first, nats, queries, keys, told, odds, spelled)


class Parts:
    """The losses of a conversation, each message's apart, so that any of them can be put together.

    Args:
        chatbot: makes the logits.
        conversation: what is read.
        at: which tokens of each message are predicted, ascending.
        made: as for `pulled_through`.
    """

    def __init__(
        self,
        chatbot: Chatbot,
        conversation: Conversation,
        at: Sequence[Tensor],
        made: Made | None = None,
    ) -> None:
        self.steps, self._like = len(conversation.ids), conversation.queries
        self._at = [own for own in at if len(own)]
        self._parts = [pulled_through(chatbot, conversation, own, made) for own in self._at]

    def __call__(self, begin: int, end: int, recorded: bool = True) -> Tensor:
        """How the losses of what is read after step `begin` and before step `end` pull at the
        states of these steps, (end - begin, H); with whether those count that made the record.
        """
        parts = [
            part
            for at, part in zip(self._at, self._parts, strict=True)
            if begin < int(at[0]) and int(at[-1]) < end
        ]
        pulls = [(part.first, part.both if recorded else part.queries) for part in parts]
        return self._sum(pulls, begin, end)

    def together(self) -> Pulled:
        """All of them, over all steps."""
        queries, keys = (
            self._sum([(part.first, getattr(part, name)) for part in self._parts], 0, self.steps)
            for name in ("queries", "keys")
        )
        each = ((part.nats, part.told, part.odds, part.spelled) for part in self._parts)
        nats, told, odds, spelled = (torch.cat(own) for own in zip(*each, strict=True))
        return Pulled(0, nats, queries, keys, told, odds, spelled)

    def _sum(self, pulls: Sequence[tuple[int, Tensor]], begin: int, end: int) -> Tensor:
        """Of pulls from some step on each."""
        out = self._like.new_zeros(end - begin, self._like.shape[1])
        for first, pull in pulls:
            own = pull[max(0, begin - first) :]
            place = max(first, begin) - begin
            out[place : place + len(own)] += own
        return out


class _Span:
    """Tokens `begin` + 1 to `end`, predicted with the record from `back` on."""

    def __init__(
        self, conversation: Conversation, back: int, begin: int, end: int, made: Made | None
    ) -> None:
        self._conversation, self._made = conversation, made
        self._back, self._begin, self._end = back, begin, end

    def backward(self, chatbot: Chatbot, at: Tensor) -> Pulled:
        """Of some tokens of the span; the gradients are of its own queries, and its own keys."""
        told_of, pointer = self._conversation, self._conversation.pointer
        back, begin, end = self._back, self._begin, self._end
        keys = told_of.keys[back:end].detach().clone().requires_grad_()
        queries = told_of.queries[begin:end].detach().clone().requires_grad_()
        # Behind the record's length nothing is seen: what was before matters at the very start.
        before = told_of.record if back == 0 else tuple(map(torch.zeros_like, told_of.record))
        with torch.enable_grad(), _Watching(pointer, self._told if self._made else None):
            record, _ = pointer.record(told_of.ids[back:end, None], keys.unsqueeze(1), before)
            # Queries of this span alone, over a record that begins `begin` - `back` steps earlier.
            skipped = begin - back
            seen = record._replace(
                ids=record.ids[:, skipped:],
                keys=record.keys[:, skipped:],
                first=record.first[:, skipped:],
            )
            told, pointed = pointer.point(
                seen, queries.unsqueeze(1), told_of.ids[begin + 1 : end + 1, None]
            )
            rows = at - 1 - begin
            told, pointed = told[rows, 0], Pointed(*(each[rows, 0] for each in pointed))
            odds, gate = pointed.odds.detach().double(), pointed.log_gate.detach().double()
            # p = g (p_vocabulary + exp(odds)), so that -log p comes in these two parts.
            nats, gradient, _, _ = pulls(chatbot, told.detach(), told_of.ids[at], odds, False)
            copied = (odds + nats).exp().to(told.dtype)
            torch.autograd.backward(
                [told, pointed.odds, pointed.log_gate],
                [gradient, -copied, -torch.ones_like(copied)],
            )
        assert queries.grad is not None
        assert keys.grad is not None
        return Pulled(back, nats - gate, queries.grad, keys.grad, told.detach(), odds, 1 - copied)

    def _told(self, name: str, made: Tensor, of: Tensor | None) -> None:
        assert self._made is not None
        # What keys are made of has a step for each of the record, all else for each query.
        begin = self._end - len(made)
        steps = torch.arange(begin, self._end)
        self._made(name, made.flatten(1), None if of is None else of.flatten(1), steps)


class _Watching:
    """Tells what the gradients of a pointer's weights are made of."""

    def __init__(
        self, pointer: Pointer, tell: Callable[[str, Tensor, Tensor | None], None] | None
    ) -> None:
        self._pointer, self._tell = pointer, tell
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> None:
        if self._tell is None:
            return
        for name, module in self._pointer.named_modules():
            if isinstance(module, nn.Linear):
                self._handles.append(module.register_forward_hook(self._map(name)))

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _map(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def watch(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            x = arguments[0].detach()

            def come_back(gradient: Tensor) -> None:
                assert self._tell is not None
                self._tell(f"pointer.{name}.weight", gradient, x)
                if module.bias is not None:
                    self._tell(f"pointer.{name}.bias", gradient, None)

            output.register_hook(come_back)

        return watch
