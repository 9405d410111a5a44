"""Training, watched: how far back the gradient reaches while the bot learns, and who made it jump.

It looks at its own expense: only so often that all of it stays under 2 % of the time.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.bptt import Full, State
from elman.data.corpus import Corpus, scored
from elman.data.layout import MessageOrigin
from elman.data.tokenizer import END, Tokenizer
from elman.lens.lags import FollowedReply, Lags, draw_replies, lags
from elman.model.chatbot import Chatbot

SHARE = 0.02
"""Of the time of training that looking may take."""

LOOKS = 0.75
"""Of that share; the rest is for spikes."""

FIRST_LOOK, FIRST_CAUSE = 2.0, 6.0
"""Steps that a look, and finding a spike's cause, are thought to cost before the first one."""

WATCHED_LAGS = 12
WATCHED_REPLIES = 8
WATCHED_STEPS = 512
"""Of a reply's history that are followed back, at most: messages, replies, and steps."""

CONVERSATIONS = 200
"""Among which the replies are drawn."""

RECENT_STEPS = 200
MIN_STEPS_FOR_SPIKE = 30
SPIKE_FACTOR = 8.0
"""A norm so many times the median of the last `RECENT_STEPS` is a spike, once there are
`MIN_STEPS_FOR_SPIKE`.
"""

GROWS = 10.0
"""Times that the gradient may grow on its way back."""

SURE = 3
"""Looks in a row that find the same before it is said."""

Event = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Culprit:
    """Who made a gradient large.

    Args:
        lane: the norm of the gradient of its conversation's loss.
        message: the norm of that of the one message's alone.
        place: of the message.
    """

    lane: float
    message: float
    place: MessageOrigin


class Watch:
    """Looks at training, one step at a time: a `Watcher` of `elman.train`.

    Args:
        chatbot: what is trained.
        tokenizer: its own.
        corpus: conversations that are looked at.
        config: of the run, as JSON.
        share: of the time that looking may take.
    """

    def __init__(
        self,
        chatbot: Chatbot,
        tokenizer: Tokenizer,
        corpus: Corpus,
        config: dict[str, Any],
        share: float = SHARE,
    ) -> None:
        self._chatbot, self._tokenizer = chatbot, tokenizer
        self._cell = config["model"]["conversation_cell"] or config["model"]["cell"]
        self._share = share
        learn_from = config["data"]["learn_from"]
        self._replies = _sample(chatbot, corpus, learn_from)
        train = config["train"]
        a_message = 1 if train["unit"] == "messages" else _steps_a_message(corpus)
        self._unfold = train["unfold"] / a_message
        self._norms: deque[float] = deque(maxlen=RECENT_STEPS)
        self._began = self._next = 0.0  # when the first step ended; when to look again
        self.spent = 0.0
        """Seconds that looking took so far."""
        self._steps = 0
        self._cost = self._spike_cost = 0.0  # seconds, of the last one
        self._found: deque[str] = deque(maxlen=SURE)
        self._said: set[str] = set()

    def __call__(self, batch: Any, state: State | None, norm: float) -> Iterator[Event]:
        """What is to be told of a step, before its weights are updated."""
        now = perf_counter()
        if not self._steps:
            self._began = now
        usual = median(self._norms) if len(self._norms) >= MIN_STEPS_FOR_SPIKE else None
        if not isfinite(norm) or (usual is not None and norm > SPIKE_FACTOR * usual):
            yield "spike", self._spike(batch, state, norm, usual, now)
        elif (
            self._replies
            and now >= self._next
            and self._may(now, self._cost or FIRST_LOOK * self._step(now), LOOKS)
        ):
            yield from self._look(now)
        if isfinite(norm):
            self._norms.append(norm)
        self._steps += 1

    @property
    def cost(self) -> float:
        """The share of the time that looking took so far."""
        elapsed = perf_counter() - self._began
        return self.spent / elapsed if self._steps and elapsed > 0 else 0.0

    def _step(self, now: float) -> float:
        """Seconds of a step."""
        return (now - self._began - self.spent) / max(1, self._steps)

    def _may(self, now: float, cost: float, part: float = 1.0) -> bool:
        """Whether looking for so many seconds stays within part of the share."""
        return self._steps > 0 and self.spent + cost <= part * self._share * (now - self._began)

    def _look(self, now: float) -> Iterator[Event]:
        found = lags(self._chatbot, self._replies, WATCHED_LAGS, 1)
        self._cost = perf_counter() - now
        self.spent += self._cost
        self._next = now + self._cost / (LOOKS * self._share)
        reach, more = found.reach
        yield (
            "lag",
            {
                "layers": [[_round(v) for v in layer] for layer in found.messages.t().tolist()],
                "reach": reach,
                "more": more,
                "unfold": round(self._unfold, 1),
                "text": in_words(reach, more, self._unfold),
                "cost": round(self.cost, 4),
            },
        )
        self._found.append(judged(found, self._unfold, self._cell))
        verdict = self._found[0]
        if verdict and list(self._found) == [verdict] * SURE and verdict not in self._said:
            self._said.add(verdict)
            yield "warning", {"text": verdict}

    def _spike(
        self, batch: Any, state: State | None, norm: float, usual: float | None, now: float
    ) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "grad_norm": _round(norm),
            "usual": None if usual is None else _round(usual),
        }
        size = "is no longer a number" if not isfinite(norm) else f"is {norm:.3g}"
        text = f"the norm of the gradient {size}" + (
            "" if usual is None else f", usually about {usual:.3g}"
        )
        if isfinite(norm) and not self._may(now, self._spike_cost or FIRST_CAUSE * self._step(now)):
            return facts | {"text": f"{text} (what caused it was not looked for, to save time)"}
        found = culprit(self._chatbot, batch, state)
        self._spike_cost = perf_counter() - now
        self.spent += self._spike_cost
        if found is None:
            return facts | {"text": text}
        said = " ".join(self._tokenizer.decode(found.place.tokens.tolist()).split())
        excerpt = said if len(said) <= 80 else said[:79] + "…"
        facts |= {
            "conversation": found.place.conversation,
            "message": found.place.message,
            "said": said,
            "conversation_norm": _round(found.lane),
            "message_norm": _round(found.message),
        }
        return facts | {
            "text": f"{text}; most of it comes from conversation {found.place.conversation + 1:,}, "
            f"message {found.place.message + 1:,}: “{excerpt}”"
        }


def culprit(chatbot: Chatbot, batch: Any, state: State | None) -> Culprit | None:
    """The conversation of a batch whose loss has the largest gradient, and its message that has.

    Each lane is differentiated by itself, and then each message of that lane; norms are of the
    whole gradient of their part of the batch's mean loss, without dropout.

    Args:
        chatbot: what is trained; neither its weights nor their gradients are changed.
        batch: a window of steps or of messages.
        state: before it.
    """
    training = chatbot.training
    chatbot.eval()
    try:
        lanes = batch.apart()
        states = [
            None if state is None else tuple(part[n : n + 1] for part in state)
            for n in range(len(lanes))
        ]
        norms = [_norm(chatbot, lane, own) for lane, own in zip(lanes, states, strict=True)]
        count = sum(targets for _, targets in norms)
        worst = max(range(len(lanes)), key=lambda n: _size(norms[n][0]))
        messages = [
            (_norm(chatbot, alone, states[worst])[0], place)
            for place, alone in lanes[worst].by_message()
        ]
    finally:
        chatbot.train(training)
    if not messages:
        return None
    norm, place = max(messages, key=lambda message: _size(message[0]))
    return Culprit(norms[worst][0] / count, norm / count, place)


def _norm(chatbot: Chatbot, batch: Any, state: State | None) -> tuple[float, int]:
    """The norm of the gradient of a batch's whole loss, and how many tokens count in it."""
    with torch.enable_grad():
        loss = chatbot.loss(batch, state, Full())
    if not len(loss.targets):
        return 0.0, 0
    weights = [p for p in chatbot.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss.nats, weights, allow_unused=True)
    return float(torch.nn.utils.get_total_norm([g for g in found if g is not None])), len(
        loss.targets
    )


def _size(norm: float) -> float:
    """For comparing: what is not a number is the largest."""
    return norm if isfinite(norm) else float("inf")


def judged(found: Lags, unfold: float, cell: str) -> str:
    """What is to be warned of, in words; nothing where all is well.

    Args:
        found: how far back the gradient reaches.
        unfold: how far back it is let, in messages.
        cell: what carries the state.
    """
    reach, more = found.reach
    size: Tensor = found.whole
    if not bool(torch.isfinite(size).all()) or float(size[-1]) > GROWS * float(size[0]):
        times = float(size[-1] / size[0])
        return (
            f"the gradient explodes on its way back: after {len(size)} messages it is {times:,.0f} "
            "times as large; keep --clip on, and lower --lr"
        )
    if more or reach >= unfold or reach >= len(size) or reach > 2:
        return ""
    advice = {"rnn": ", LSTM does (--cell lstm)"}.get(cell, " as long as it has not learned to")
    return (
        f"nothing reaches back past message {reach}: under 1 % of the gradient does; a larger "
        f"--unfold does not help{advice}"
    )


def in_words(reach: int, more: bool, unfold: float) -> str:
    """How far the gradient reaches beside how far it is let."""
    some = "1 message" if reach == 1 else f"{reach} messages"
    least = "at least " if more else ""
    line = f"it learns from {least}about {some}; you unfold about {unfold:.3g}"
    return f"{line}: a larger --unfold may help" if reach > unfold + 0.5 else line


def _sample(chatbot: Chatbot, corpus: Corpus, learn_from: str) -> list[FollowedReply]:
    """Replies with their histories, as far back as is looked."""
    every = np.linspace(0, len(corpus) - 1, min(CONVERSATIONS, len(corpus))).astype(int)
    conversations = [corpus.messages(int(index)) for index in every]
    counted = [
        [bool(scored(message[:2], learn_from).any()) for message in own] for own in conversations
    ]
    drawn = draw_replies(
        conversations, counted, replies=WATCHED_REPLIES, most=WATCHED_LAGS, heard=0, seed=0
    )
    return [reply for each in drawn if len((reply := _trimmed(chatbot, each)).messages) > 1]


def _trimmed(chatbot: Chatbot, reply: FollowedReply) -> FollowedReply:
    """Without the oldest messages, where they are too many steps."""
    messages = list(reply.messages)
    while len(messages) > 2 and sum(map(chatbot.steps_of, messages)) > WATCHED_STEPS:
        messages.pop(0)
    return FollowedReply(messages)


def _steps_a_message(corpus: Corpus) -> float:
    return len(corpus.ids) / max(1, int((corpus.ids == END).sum()))


def _round(value: float) -> float | None:
    """Four digits; None for what JSON cannot write."""
    return float(f"{value:.4g}") if isfinite(value) else None
