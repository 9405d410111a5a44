"""Training, watched: how far back the gradient reaches while the bot learns, and who made it jump.

It looks at its own expense: only so often that all of it stays under 2 % of the time.
"""

from collections import deque
from collections.abc import Iterator
from math import isfinite
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.bptt import State
from elman.data.corpus import Corpus, scored
from elman.data.tokenizer import Tokenizer
from elman.lens.lags import FollowedReply, Lags, draw_replies, lags
from elman.model.chatbot import Chatbot
from elman.model.culprit import culprit

MAX_TIME_SHARE = 0.02
"""Of the time of training that looking may take."""

LOOKS_BUDGET_SHARE = 0.75
"""Of that share; the rest is for spikes."""

FIRST_LOOK_STEPS, FIRST_CAUSE_STEPS = 2.0, 6.0
"""Steps that a look, and finding a spike's cause, are thought to cost before the first one."""

WATCHED_LAG_MESSAGES = 12
WATCHED_REPLIES = 8
MAX_WATCHED_STEPS = 512
"""Of a reply's history that are followed back, at most: messages, replies, and steps."""

WATCHED_CONVERSATIONS = 200
"""Among which the replies are drawn."""

RECENT_STEPS = 200
MIN_STEPS_FOR_SPIKE = 30
SPIKE_FACTOR = 8.0
"""A norm so many times the median of the last `RECENT_STEPS` is a spike, once there are
`MIN_STEPS_FOR_SPIKE`.
"""

EXPLODING_FACTOR = 10.0
"""Times that the gradient may grow on its way back."""

AGREEING_LOOKS = 3
"""Looks in a row that find the same before it is said."""

Seen = tuple[str, dict[str, Any]]


class GradientWatcher:
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
        share: float = MAX_TIME_SHARE,
    ) -> None:
        self._chatbot, self._tokenizer = chatbot, tokenizer
        self._cell = chatbot.through_time.cell_name
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
        self._found: deque[str] = deque(maxlen=AGREEING_LOOKS)
        self._said: set[str] = set()

    def __call__(self, batch: Any, state: State | None, norm: float) -> Iterator[Seen]:
        """Yield what is to be told of a step, before its weights are updated."""
        now = perf_counter()
        if not self._steps:
            self._began = now
        usual = median(self._norms) if len(self._norms) >= MIN_STEPS_FOR_SPIKE else None
        if usual is not None and norm > SPIKE_FACTOR * usual:
            yield "spike", self._spike(batch, state, norm, usual, now)
        elif (
            self._replies
            and now >= self._next
            and self._may(now, self._cost or FIRST_LOOK_STEPS * self._step(now), LOOKS_BUDGET_SHARE)
        ):
            yield from self._look(now)
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
        """Say whether looking for so many seconds stays within part of the share."""
        return self._steps > 0 and self.spent + cost <= part * self._share * (now - self._began)

    def _look(self, now: float) -> Iterator[Seen]:
        found = lags(self._chatbot, self._replies, WATCHED_LAG_MESSAGES, 1)
        self._cost = perf_counter() - now
        self.spent += self._cost
        self._next = now + self._cost / (LOOKS_BUDGET_SHARE * self._share)
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
        if (
            verdict
            and list(self._found) == [verdict] * AGREEING_LOOKS
            and verdict not in self._said
        ):
            self._said.add(verdict)
            yield "warning", {"text": verdict}

    def _spike(
        self, batch: Any, state: State | None, norm: float, usual: float, now: float
    ) -> dict[str, Any]:
        facts: dict[str, Any] = {"grad_norm": _round(norm), "usual": _round(usual)}
        text = f"the norm of the gradient is {norm:.3g}, usually about {usual:.3g}"
        if not self._may(now, self._spike_cost or FIRST_CAUSE_STEPS * self._step(now)):
            return facts | {"text": f"{text} (what caused it was not looked for, to save time)"}
        found = culprit(self._chatbot, batch, state)
        self._spike_cost = perf_counter() - now
        self.spent += self._spike_cost
        if found is None:
            return facts | {"text": text}
        facts |= found.to_json(self._tokenizer) | {
            "conversation_norm": _round(found.conversation_norm),
            "message_norm": _round(found.message_norm),
        }
        where = found.in_words(self._tokenizer)
        return facts | {"text": f"{text}; most of it comes from {where}"}


def judged(found: Lags, unfold: float, cell: str) -> str:
    """Say what is to be warned of; nothing where all is well.

    Args:
        found: how far back the gradient reaches.
        unfold: how far back it is let, in messages.
        cell: what carries the state.
    """
    reach, more = found.reach
    size: Tensor = found.whole
    if not bool(torch.isfinite(size).all()) or float(size[-1]) > EXPLODING_FACTOR * float(size[0]):
        times = float(size[-1] / size[0])
        return (
            f"the gradient explodes on its way back: after {len(size)} messages it is {times:,.0f} "
            "times as large; keep train.clip on, and lower train.lr"
        )
    if more or reach >= unfold or reach >= len(size) or reach > 2:
        return ""
    advice = {"rnn": ", LSTM does (model.cell=lstm)"}.get(cell, " as long as it has not learned to")
    return (
        f"nothing reaches back past message {reach}: under 1 % of the gradient does; a larger "
        f"train.unfold does not help{advice}"
    )


def in_words(reach: int, more: bool, unfold: float) -> str:
    """Compare how far the gradient reaches with how far it is let."""
    some = "1 message" if reach == 1 else f"{reach} messages"
    least = "at least " if more else ""
    line = f"it learns from {least}about {some}; you unfold about {unfold:.3g}"
    return f"{line}: a larger train.unfold may help" if reach > unfold + 0.5 else line


def _sample(chatbot: Chatbot, corpus: Corpus, learn_from: str) -> list[FollowedReply]:
    """Replies with their histories, as far back as is looked."""
    every = np.linspace(0, len(corpus) - 1, min(WATCHED_CONVERSATIONS, len(corpus))).astype(int)
    conversations = [corpus.messages(int(index)) for index in every]
    counted = [
        [bool(scored(message[:2], learn_from).any()) for message in own] for own in conversations
    ]
    drawn = draw_replies(
        conversations, counted, replies=WATCHED_REPLIES, most=WATCHED_LAG_MESSAGES, heard=0, seed=0
    )
    return [reply for each in drawn if len((reply := _trimmed(chatbot, each)).messages) > 1]


def _trimmed(chatbot: Chatbot, reply: FollowedReply) -> FollowedReply:
    """Without the oldest messages, where they are too many steps."""
    messages = list(reply.messages)
    while len(messages) > 2 and sum(map(chatbot.steps_of, messages)) > MAX_WATCHED_STEPS:
        messages.pop(0)
    return FollowedReply(messages)


def _steps_a_message(corpus: Corpus) -> float:
    return corpus.tokens / max(1, corpus.message_count)


def _round(value: float) -> float | None:
    """Four digits; None for what JSON cannot write."""
    return float(f"{value:.4g}") if isfinite(value) else None
