"""One conversation through the lens: everything that the page, the terminal and the JSON show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from elman.lens.chain import Chain, Segment, frozen, over_segments, unfolded
from elman.lens.lags import FollowedReply, Lags, draw_replies, lags
from elman.lens.units import Units
from elman.lens.whole import Whole, differentiate
from elman.model.chatbot import Chatbot

MAX_VIEWED_MESSAGES = 512
MAX_VIEWED_TOKENS = 5 << 10
"""Of the stretch that is differentiated as a whole; of a longer conversation it is the end."""

CLOSE_TOKENS = 1 << 10
"""Of the stretch's end that is unfolded at several lengths, and shown token by token."""

WARMUP_MESSAGES = 64
"""Messages before a stretch that are read to begin with their state."""

UNFOLD_LENGTHS = (1, 2, 5, 10, 20)

LAG_REPLIES, SHOWN_LAG_MESSAGES, LAG_WARMUP_MESSAGES = 12, 24, 8

STRIP_UNITS = 12
"""Units of each layer that are drawn: those that move most from message to message."""


@dataclass(frozen=True)
class ViewedMessage:
    """One message of the conversation.

    Args:
        author: who said it.
        role: user, bot or system.
        text: as it was written.
        tokens: from its role to its END.
        counts: whether the bot learns to say it.
    """

    author: str
    role: Literal["user", "bot", "system"]
    text: str
    tokens: np.ndarray
    counts: bool


@dataclass(frozen=True)
class Unfolding:
    """What a truncation keeps and loses.

    Args:
        indirect: norm of what later losses send back to h after each message, (S, layers).
        lost: norm of what they would send back if nothing were cut, less this, (S, layers).
        share: what is lost of all that is sent back to these states.
    """

    indirect: Tensor
    lost: Tensor
    share: float


@dataclass
class LensView:
    """What was seen of M messages, in L layers.

    Args:
        said: the messages of the stretch.
        skipped: how many came before the stretch.
        layers: what they are called.
        nats: the loss of each message, (M,).
        state: norm of h after each message, (M, L).
        strip: h of some units of each layer after each message, (M, L, units).
        drawn: which units those are, (L, units).
        token_nats: the loss of each token, message by message.
        whole: the backward pass; None where there is none to be had.
        direct: norm of dLoss/dh after each message from the very next one alone, (M, L).
        indirect: norm of dLoss/dh from all later ones, (M, L).
        gradient: norm of both together, (M, L).
        unfoldings: by unfold length, over the last `close` messages.
        close: how many messages at the end are seen closely.
        token_direct: of each step of these, from its own loss alone, (steps, L); None in the memory
            of messages.
        token_gradient: of each step of these, (steps, L).
        lags: None where no reply was there.
        sample: how many replies the lags are means of, and from how many conversations.
        units: what the units of each layer do.
        exact: what is exact, in words.
        sampled: what is sampled, in words.
        lost: what cannot be shown, in words.
    """

    said: list[ViewedMessage]
    skipped: int
    layers: list[str]
    nats: Tensor
    state: Tensor
    strip: Tensor
    drawn: Tensor
    token_nats: list[Tensor]
    whole: Whole | None = None
    direct: Tensor | None = None
    indirect: Tensor | None = None
    gradient: Tensor | None = None
    unfoldings: dict[int, Unfolding] = field(default_factory=dict)
    close: int = 0
    token_direct: Tensor | None = None
    token_gradient: Tensor | None = None
    lags: Lags | None = None
    sample: tuple[int, int] = (0, 0)
    units: list[Units] = field(default_factory=list)
    exact: list[str] = field(default_factory=list)
    sampled: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


TellText = Callable[[str], None]


def stretch(said: Sequence[ViewedMessage]) -> int:
    """Find where the part begins that is differentiated as a whole."""
    tokens = 0
    first = len(said)
    while first > 0 and len(said) - first < MAX_VIEWED_MESSAGES:
        tokens += len(said[first - 1].tokens)
        if tokens > MAX_VIEWED_TOKENS and len(said) - first >= 2:
            break
        first -= 1
    return first


def look(
    chatbot: Chatbot,
    said: Sequence[ViewedMessage],
    others: Sequence[Sequence[ViewedMessage]] = (),
    *,
    seed: int = 0,
    tell: TellText = lambda _: None,
) -> LensView:
    """See a conversation with the gradient of all its losses.

    Args:
        chatbot: whose weights are in float32 (or float64).
        said: a conversation of at least two messages, one of which counts.
        others: held-out conversations from which the lag profile is drawn; none: this one.
        seed: of the draw.
        tell: is told what is being done.
    """
    with frozen(chatbot):
        first = stretch(said)
        seen = list(said[first:])
        tell(f"differentiating {len(seen):,} messages")
        before = [each.tokens for each in said[max(0, first - WARMUP_MESSAGES) : first]]
        start = chatbot.score([before], chatbot.initial_state(1))[1] if before else None
        messages, counted = [each.tokens for each in seen], [each.counts for each in seen]
        whole = differentiate(chatbot, messages, counted, start)
        view = seen_forward(seen, first, whole.token_nats, whole.state)
        view.whole = whole
        tell("unfolding")
        _unfold(view, whole)
        tell("following replies back")
        _follow(view, chatbot, said, others, seed)
        view.units = whole.units
        _describe(view, len(said), len(before))
        return view


def seen_forward(
    said: list[ViewedMessage], skipped: int, token_nats: list[Tensor], state: Tensor
) -> LensView:
    """Begin a view with what needs no gradient.

    Args:
        said: the messages of the stretch, M.
        skipped: how many came before them.
        token_nats: the loss of each token, message by message.
        state: h after each message, (M, L, H).
    """
    spread = state.std(dim=0) if len(state) > 1 else state[0].abs()
    count = min(STRIP_UNITS, state.shape[2])
    drawn = spread.topk(count, dim=1).indices.sort(dim=1).values
    return LensView(
        said=said,
        skipped=skipped,
        layers=[f"layer {number + 1}" for number in range(state.shape[1])],
        nats=torch.stack([costs.sum() for costs in token_nats]),
        state=state.norm(dim=2),
        strip=torch.stack([state[:, n, own] for n, own in enumerate(drawn)], dim=1),
        drawn=drawn,
        token_nats=token_nats,
    )


def _unfold(view: LensView, whole: Whole) -> None:
    chain = whole.chain
    states = len(view.said) - 1
    full = whole.gradient
    direct = torch.zeros_like(full)
    direct[:states] = unfolded(chain, 1, states)
    view.direct, view.gradient = direct.norm(dim=2), full.norm(dim=2)
    view.indirect = (full - direct).norm(dim=2)

    first = _close(chain, view.said)
    view.close = len(view.said) - first
    near = _from(chain, first)
    exact, own = full[first:-1], direct[first:-1]
    for unfold in UNFOLD_LENGTHS:
        if unfold >= states - first:
            break
        cut = own if unfold == 1 else unfolded(near, unfold, states - first)
        lost = (exact - cut).norm(dim=2)
        share = float((exact - cut).norm(dim=(1, 2)).sum() / exact.norm(dim=(1, 2)).sum())
        view.unfoldings[unfold] = Unfolding((cut - own).norm(dim=2), lost, share)
    if chain.own_steps:
        begin = 0 if first == 0 else chain.ends[first - 1] + 1
        view.token_gradient = whole.steps[:, begin:].norm(dim=2).t()
        view.token_direct = _alone(chain, first)


def _close(chain: Chain, said: Sequence[ViewedMessage]) -> int:
    """Find the first message of those at the end that are seen closely."""
    tokens, first = 0, len(said)
    while first > 0 and (
        len(said) - first < 3 or tokens + len(said[first - 1].tokens) <= CLOSE_TOKENS
    ):
        first -= 1
        tokens += len(said[first].tokens)
    return first


def _from(chain: Chain, first: int) -> Chain:
    """Take the chain's messages from `first` on, numbered anew; its steps keep their numbers."""
    before_ends = tuple(part[first:] for part in chain.before_ends)
    return replace(chain, ends=chain.ends[first:], before_ends=before_ends)


def _alone(chain: Chain, first: int) -> Tensor:
    """Measure dloss_t/dh_t for every step from message `first` on, (steps, L).

    It comes from each step's own loss, through all layers, and nothing of it from later steps.
    """
    begins = [0 if n == 0 else chain.ends[n - 1] + 1 for n in range(first, len(chain.ends))]
    segments = []
    for n in range(first, len(chain.ends)):
        segments.append(Segment(n - 1, chain.ends[n - 1] if n else 0, chain.ends[n] + 1, []))
    out = chain.x.new_zeros(chain.ends[-1] + 1 - begins[0], len(chain.stack.blocks))
    for segment, steps in over_segments(chain, segments, cut_everywhere=True):
        place = segment.begin - begins[0]
        norms = torch.stack([layer.norm(dim=1) for layer in steps], dim=1)
        skip = max(0, -place)
        out[place + skip : place + len(norms)] = norms[skip:]
    return out


def _follow(
    view: LensView,
    chatbot: Chatbot,
    said: Sequence[ViewedMessage],
    others: Sequence[Sequence[ViewedMessage]],
    seed: int,
) -> None:
    conversations = [*others] or [said]
    replies: list[FollowedReply] = draw_replies(
        [[each.tokens for each in own] for own in conversations],
        [[each.counts for each in own] for own in conversations],
        replies=LAG_REPLIES,
        most=SHOWN_LAG_MESSAGES,
        heard=LAG_WARMUP_MESSAGES,
        seed=seed,
    )
    if replies:
        view.lags = lags(chatbot, replies, SHOWN_LAG_MESSAGES)
        view.sample = len(replies), len(conversations)


def _describe(view: LensView, count: int, heard: int) -> None:
    shown = len(view.said)
    closely = "the unfold lengths" + (" and every token" if view.token_direct is not None else "")
    view.exact.append(
        f"loss, direct and indirect gradient of h, and every weight's shares: over all {shown:,} "
        "messages shown, by one backward pass from the last loss to the first step"
    )
    view.exact.append(f"{closely}: over the last {view.close:,} messages")
    if view.whole is not None and view.whole.recorded is not None:
        view.exact.append(
            "through the pointer: what replies that looked at a message's tokens send back to them "
            "on no way from step to step; it is part of the direct and of the indirect gradient"
        )
    if view.lags is not None:
        replies, conversations = view.sample
        view.sampled.append(
            f"the gradient by lag: the mean over {replies:,} replies of {conversations:,} "
            f"conversation{'s' if conversations > 1 else ''}, each with one exact backward pass of "
            "its own"
        )
    if shown < count:
        view.sampled.append(
            f"the conversation has {count:,} messages: its last {shown:,} are shown, after "
            f"{heard:,} that are read for their state and get no gradient"
        )
