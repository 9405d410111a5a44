"""How losses pull at hidden states through a pointer: at those that its record was made of, too.

A loss that looks at earlier tokens pulls at their keys, and so at the states that made them, on no
way from step to step. All of it is differentiated in spans of the pointer's own size, each with the
record before it made anew; so a long conversation needs no more memory than a short one.
"""

from collections.abc import Callable
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
        nats: what each costs, (K,) float64.
        queries: their gradient in what they are predicted from, (steps, H).
        keys: their gradient in what the record is made of, (steps, H).
        told: what the vocabulary's logits of each are made of, (K, H).
        of_output: the gradient of the output's weight, (V, H); empty where it was not asked for.
        spelled: how much of each token's probability is the vocabulary's and not copied, (K,).
    """

    nats: Tensor
    queries: Tensor
    keys: Tensor
    told: Tensor
    of_output: Tensor
    spelled: Tensor


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
    *,
    first: int = 0,
    weights: bool = False,
) -> Pulled:
    """The gradients of some losses, with the pointer's own weights' if somebody wants to know.

    Args:
        chatbot: makes the logits.
        conversation: what is read.
        at: which tokens are predicted, (K,), ascending, none of them the first.
        made: is told what the gradients of the pointer's weights are made of.
        first: the step from which gradients are wanted, not after that before the first token.
        weights: whether the gradient of the output's weight is wanted.
    """
    queries = torch.zeros_like(conversation.queries[first : int(at[-1]) if len(at) else first])
    keys = torch.zeros_like(queries)
    nats, told, spelled = [], [], []
    weight = chatbot.output_layer[0]
    of_output = torch.zeros_like(weight if weights else weight[:0])
    done = 0
    while done < len(at):
        begin = int(at[done]) - 1
        count = int((at[done:] <= begin + QUERIES).sum())
        own = at[done : done + count]
        done += count
        back = max(0, begin - conversation.pointer.length)
        span = _Span(conversation, back, begin, int(own[-1]), made)
        found = span.backward(chatbot, own, weights)
        end = int(own[-1])
        queries[begin - first : end - first] += found.queries
        seen = max(back, first)
        keys[seen - first : end - first] += found.keys[seen - back :]
        of_output += found.of_output
        nats.append(found.nats)
        told.append(found.told)
        spelled.append(found.spelled)
    if not nats:
        none = queries[:0]
        return Pulled(none.sum(1).double(), queries, keys, none, of_output, none.sum(1))
    return Pulled(torch.cat(nats), queries, keys, torch.cat(told), of_output, torch.cat(spelled))


class _Span:
    """Tokens `begin` + 1 to `end`, predicted with the record from `back` on."""

    def __init__(
        self, conversation: Conversation, back: int, begin: int, end: int, made: Made | None
    ) -> None:
        self._conversation, self._made = conversation, made
        self._back, self._begin, self._end = back, begin, end

    def backward(self, chatbot: Chatbot, at: Tensor, weights: bool) -> Pulled:
        """Of some tokens of the span; the gradients are of the span's states alone."""
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
            nats, gradient, of_output, _ = pulls(
                chatbot, told.detach(), told_of.ids[at], odds, weights
            )
            copied = (odds + nats).exp().to(told.dtype)
            torch.autograd.backward(
                [told, pointed.odds, pointed.log_gate],
                [gradient, -copied, -torch.ones_like(copied)],
            )
        assert queries.grad is not None
        assert keys.grad is not None
        return Pulled(nats - gate, queries.grad, keys.grad, told.detach(), of_output, 1 - copied)

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
