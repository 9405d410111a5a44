"""How far back a loss is felt: the gradient by layer and by how many messages or tokens back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from elman.bptt import State
from elman.lens.chain import MAX_BATCH_STEPS, frozen, pulled, pulls
from elman.lens.pointing import PointedConversation, pulled_through
from elman.model.chatbot import Chatbot
from elman.model.packing import predicted_places, token_ids

NEGLIGIBLE_GRADIENT_SHARE = 0.01
"""The share of the gradient that may be lost: past the unfold length less than this comes back."""


@dataclass(frozen=True)
class FollowedReply:
    """One loss whose way back is followed: that of the last of some messages.

    Args:
        messages: what was said before it, as far back as is looked, and itself.
        before: what was said before those; it makes the state, and gets no gradient.
    """

    messages: Sequence[np.ndarray]
    before: Sequence[np.ndarray] = ()


@dataclass(frozen=True)
class Lags:
    """Mean norms of dloss/dh over replies; lag 1 is the message, or token, just before a reply.

    Args:
        messages: of h after the message that many back, (lags, layers).
        whole: the same of all layers' h together, (lags,).
        tokens: of h at the token that many back, (lags, layers); None in the memory of messages.
        replies: how many replies have so long a history, (lags,).
    """

    messages: Tensor
    whole: Tensor
    tokens: Tensor | None
    replies: Tensor

    @property
    def reach(self) -> tuple[int, bool]:
        """Say from how many messages back all but 1 % of the gradient comes.

        The second value is whether the lags end before the gradient does: then it may be more.
        """
        return reach(self.whole)


def reach(by_lag: Tensor) -> tuple[int, bool]:
    """Find the smallest K such that the lags past K hold a negligible share of the sum.

    Returns:
        K, and whether the last lag is still so much that what lies past it may count, too.
    """
    enough = NEGLIGIBLE_GRADIENT_SHARE
    total = float(by_lag.sum())
    if total == 0 or not np.isfinite(total):
        return 0, False
    past = 1 - by_lag.double().cumsum(0) / total
    k = int((past >= enough).sum()) + 1
    return min(k, len(by_lag)), bool(by_lag[-1] > enough * total / 2)


def lags(
    chatbot: Chatbot, replies: Sequence[FollowedReply], most: int, most_tokens: int = 256
) -> Lags:
    """Follow each reply's loss back, side by side, one exact backward pass for each.

    Args:
        chatbot: of any memory.
        replies: at least one, each with a message before it.
        most: messages back, at most.
        most_tokens: tokens back, at most.
    """
    stack = chatbot.through_time
    layers = len(stack.blocks)
    sums = torch.zeros(most, layers, dtype=torch.float64)
    whole, counts = torch.zeros(most, dtype=torch.float64), torch.zeros(most)
    own_steps = chatbot.step_unit == "tokens"
    token_sums = torch.zeros(most_tokens, layers, dtype=torch.float64)
    token_counts = torch.zeros(most_tokens)
    with frozen(chatbot):
        for reply, gradient in _gradients(chatbot, replies):
            # After each message but the last, the nearest first: (lags, layers, H).
            ends = torch.tensor(_ends(chatbot, reply.messages[:-1]))
            norms = gradient[ends].flip(0)[:most].norm(dim=2).double()
            sums[: len(norms)] += norms
            whole[: len(norms)] += norms.norm(dim=1)
            counts[: len(norms)] += 1
            if own_steps:
                back = gradient[: int(ends[-1]) + 1].flip(0)[:most_tokens].norm(dim=2).double()
                token_sums[: len(back)] += back
                token_counts[: len(back)] += 1
    there, heard = int((counts > 0).sum()), int((token_counts > 0).sum())
    return Lags(
        messages=sums[:there] / counts[:there, None],
        whole=whole[:there] / counts[:there],
        tokens=token_sums[:heard] / token_counts[:heard, None] if own_steps else None,
        replies=counts[:there].long(),
    )


def _ends(chatbot: Chatbot, messages: Sequence[np.ndarray]) -> list[int]:
    """Find the step after which each message has been read."""
    steps = [chatbot.steps_of(message) for message in messages]
    return [int(end) - 1 for end in np.cumsum(steps)]


def _gradients(
    chatbot: Chatbot, replies: Sequence[FollowedReply]
) -> Iterator[tuple[FollowedReply, Tensor]]:
    """Yield each reply with dloss/dh of every step before it, (T, layers, H)."""
    length = {id(reply): sum(map(chatbot.steps_of, reply.messages)) for reply in replies}
    order = sorted(replies, key=lambda reply: -length[id(reply)])
    while order:
        fitting = max(1, MAX_BATCH_STEPS // max(1, length[id(order[0])]))
        some, order = order[:fitting], order[fitting:]
        layers = _side_by_side(chatbot, some)
        for row, reply in enumerate(some):
            yield reply, torch.stack([layer[:, row] for layer in layers], dim=1)


def _side_by_side(chatbot: Chatbot, replies: Sequence[FollowedReply]) -> list[Tensor]:
    """Make dloss/dh of every step of each layer, (T, replies, H), padded at the end."""
    state = _starts(chatbot, replies)
    unrolled = chatbot.unroll([reply.messages for reply in replies], state)
    wanted = [[False] * (len(reply.messages) - 1) + [True] for reply in replies]
    ids = [token_ids(reply.messages) for reply in replies]
    at = [predicted_places(reply.messages, own) for reply, own in zip(replies, wanted, strict=True)]

    def pull(outputs: Tensor) -> Tensor:
        outputs.requires_grad_()
        own = [outputs[: len(x), row] for row, x in enumerate(unrolled.x)]
        hidden = unrolled.predict(own, wanted)
        detached = hidden.detach()
        if chatbot.pointer is None:
            targets = torch.cat([each[places] for each, places in zip(ids, at, strict=True)])
            return torch.autograd.grad(hidden, outputs, pulls(chatbot, detached, targets)[1])[0]
        found = [
            pulled_through(
                chatbot,
                PointedConversation.of(
                    chatbot, each, places, said, keys, tuple(part[row : row + 1] for part in state)
                ),
                places,
            )
            for row, (each, places, said, keys) in enumerate(
                zip(ids, at, detached.split(list(map(len, at))), unrolled.keys or own, strict=True)
            )
        ]
        gradients = [
            each.queries[places - 1 - each.first] for each, places in zip(found, at, strict=True)
        ]
        (back,) = torch.autograd.grad(hidden, outputs, torch.cat(gradients))
        if unrolled.keys is None:
            for row, each in enumerate(found):
                back[each.first : each.first + len(each.keys), row] += each.keys
        return back

    stack = chatbot.through_time
    return pulled(stack, nn.utils.rnn.pad_sequence(unrolled.x), stack.own_state(state), pull)


def _starts(chatbot: Chatbot, replies: Sequence[FollowedReply]) -> State:
    """Read up to each reply's messages; the states are (replies, size) each."""
    state = chatbot.initial_state(len(replies))
    reading = [row for row, reply in enumerate(replies) if reply.before]
    if not reading:
        return state
    rows = torch.tensor(reading)
    _, after = chatbot.score(
        [replies[row].before for row in reading], tuple(part[rows] for part in state)
    )
    return tuple(part.index_copy(0, rows, new) for part, new in zip(state, after, strict=True))


def draw_replies(
    conversations: Sequence[Sequence[np.ndarray]],
    counted: Sequence[Sequence[bool]],
    *,
    replies: int,
    most: int,
    heard: int,
    seed: int,
) -> list[FollowedReply]:
    """Draw some replies of some conversations, those with a long history first.

    Args:
        conversations: their messages.
        counted: which of them are learned.
        replies: how many, at most.
        most: messages back that are looked at.
        heard: messages before those that are read, at most.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    places = [
        (number, n)
        for number, own in enumerate(counted)
        for n, counts in enumerate(own)
        if counts and n > 0
    ]
    full = [place for place in places if place[1] >= most]
    rest = sorted((place for place in places if place[1] < most), key=lambda place: -place[1])
    drawn = [full[n] for n in rng.permutation(len(full))[:replies]]
    # Where few histories are long enough, the longest of the others, from among four times as many.
    others = rest[: 4 * (replies - len(drawn))]
    drawn += [others[n] for n in rng.permutation(len(others))[: replies - len(drawn)]]
    found = []
    for number, n in drawn:
        messages = conversations[number]
        first = max(0, n - most)
        found.append(
            FollowedReply(messages[first : n + 1], messages[max(0, first - heard) : first])
        )
    return found
