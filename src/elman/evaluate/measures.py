"""Measure a bot: one report of everything."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import exp, log
from typing import Any

import numpy as np

from elman.data.corpus import Corpus, is_scored
from elman.data.tokenizer import Tokenizer
from elman.errors import require
from elman.evaluate.choices import candidates, hits, hits_by_likelihood, recall
from elman.evaluate.context import context_gain, gain_by_lag
from elman.evaluate.texts import (
    Copies,
    Pair,
    Responder,
    bleu,
    distinct,
    median_length,
    repeated,
    reply_in,
    words,
)
from elman.generate.bot import Bot
from elman.generate.likelihood import likelihoods
from elman.generate.positions import ReplyPosition, draw_positions, states_at
from elman.generate.replier import Replier
from elman.generate.sampling import SamplingParams
from elman.generate.scoring import conversation_costs, subset

MEASURED_REPLIES = 200
CONTEXT_TOKENS = 40_000
MEASURED_LAGS = 8
MEASURED_LAG_REPLIES = 128
MEASURED_RECALLS = 400
FEW_CANDIDATES, MANY_CANDIDATES = 10, 20
"""How many replies the real one is to be found among."""


@dataclass(frozen=True)
class Report:
    """Measures on held-out conversations; docs/measures.md says what each means.

    A measure is None where the conversations do not allow it, or what it needs is gone.
    """

    bits_per_byte: float
    perplexity_per_word: float
    context_gain: float | None
    context_gain_interval: tuple[float, float] | None
    context_gain_other: float | None
    context_gain_other_interval: tuple[float, float] | None
    context_replies: int
    context_gain_by_lag: list[float] | None
    hits_at_1: float | None
    hits_at_1_of_20: float | None
    hits_at_1_likelihood: float | None
    recall_by_distance: dict[str, float | None]
    bleu: float
    exact_match: float
    distinct_1: float
    distinct_2: float
    distinct_1_people: float
    distinct_2_people: float
    repeated_replies: float
    repeated_replies_people: float
    reply_words: float
    reply_words_people: float
    copied: float | None
    copied_people: float | None
    people_in_training: float | None
    replies: int
    conversations: int
    messages: int
    learn_from: str
    seed: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Measured:
    """A report, and the figures of each reply position behind it, so that two bots can be compared.

    Args:
        report: the measures.
        nats: of each conversation's counted messages, (conversations,).
        text_bytes: of the same messages.
        positions: the reply positions at which the bot replied, drawn by seed.
        pairs: its replies there, and people's.
        found: at each position whether it ranks the real reply first, (positions,); empty where
            there are too few others.
    """

    report: Report
    nats: np.ndarray
    text_bytes: np.ndarray
    positions: list[ReplyPosition]
    pairs: list[Pair]
    found: np.ndarray


def evaluate(
    bot: Bot,
    corpus: Corpus,
    learn_from: str,
    seed: int = 0,
    respond: Responder | None = None,
    training: Iterable[str] | None = None,
) -> Measured:
    """Measure a bot.

    Bits per byte are taken over the whole corpus. The context gains are taken over its first
    conversations, about 40,000 tokens; the replies over 200 positions drawn by `seed`.

    Args:
        bot: to be measured.
        corpus: conversations that it has not learned from.
        learn_from: whose messages count, "bot" or "all".
        seed: of everything that is drawn.
        respond: makes the replies; None: as the bot does by itself.
        training: every message that it learned from, to tell what is copied; None: not known.

    Raises:
        ElmanError: where the extra `evaluate` is not installed.
    """
    require("evaluate", "measuring a bot")
    decoder, tokenizer = bot.decoder, bot.tokenizer
    if respond is None:
        params = SamplingParams(seed=seed)
        respond = partial(Replier(bot, params).replies, generator=params.generator())
    nats, text_bytes = conversation_costs(bot.decoder, bot.tokenizer, corpus, learn_from)
    text_words = _count_words(corpus, bot.tokenizer, learn_from)
    gains = context_gain(decoder, subset(corpus, CONTEXT_TOKENS), tokenizer, learn_from)
    none, other, context_replies = gains or (None, None, 0)
    positions = draw_positions(corpus, learn_from, MEASURED_REPLIES, seed)
    state = states_at(decoder, corpus, positions)
    choices = candidates(corpus, positions, learn_from, MANY_CANDIDATES, seed)
    ranked = likelihoods(decoder, state, choices)
    fewest = min(map(len, choices), default=0)
    few, many = fewest >= FEW_CANDIDATES, fewest >= MANY_CANDIDATES
    pairs = reply_in(positions, state, corpus, tokenizer, respond)
    ours, theirs = [pair.bot for pair in pairs], [pair.person for pair in pairs]
    copies = None if training is None else Copies([*ours, *theirs], training)
    found = hits(ranked, FEW_CANDIDATES) if few else np.zeros(0, dtype=bool)
    likeliest = hits_by_likelihood(ranked, FEW_CANDIDATES) if few else None
    report = Report(
        bits_per_byte=float(nats.sum()) / log(2) / max(1, int(text_bytes.sum())),
        perplexity_per_word=exp(float(nats.sum()) / max(1, text_words)),
        context_gain=none.mean if none else None,
        context_gain_interval=none.interval(seed) if none else None,
        context_gain_other=other.mean if other else None,
        context_gain_other_interval=other.interval(seed) if other else None,
        context_replies=context_replies,
        context_gain_by_lag=gain_by_lag(
            decoder, corpus, tokenizer, learn_from,
            lags=MEASURED_LAGS, replies=MEASURED_LAG_REPLIES, seed=seed,
        ),
        hits_at_1=float(found.mean()) if few else None,
        hits_at_1_of_20=float(hits(ranked, MANY_CANDIDATES).mean()) if many else None,
        hits_at_1_likelihood=None if likeliest is None else float(likeliest.mean()),
        recall_by_distance=recall(
            decoder, corpus, tokenizer, learn_from,
            of=FEW_CANDIDATES, number=MEASURED_RECALLS, seed=seed,
        ),
        bleu=bleu(pairs),
        exact_match=_share([pair.exact for pair in pairs]),
        distinct_1=distinct(ours, 1),
        distinct_2=distinct(ours, 2),
        distinct_1_people=distinct(theirs, 1),
        distinct_2_people=distinct(theirs, 2),
        repeated_replies=repeated(ours),
        repeated_replies_people=repeated(theirs),
        reply_words=median_length(ours),
        reply_words_people=median_length(theirs),
        copied=_share(copies.runs[: len(ours)]) if copies else None,
        copied_people=_share(copies.runs[len(ours) :]) if copies else None,
        people_in_training=_share(copies.whole[len(ours) :]) if copies else None,
        replies=len(pairs),
        conversations=len(corpus),
        messages=sum(len(corpus.messages(index)) for index in range(len(corpus))),
        learn_from=learn_from,
        seed=seed,
    )  # fmt: skip
    return Measured(report, nats, text_bytes, positions, pairs, found)


def _count_words(corpus: Corpus, tokenizer: Tokenizer, learn_from: str) -> int:
    """Count the words of all messages that are learned."""
    return sum(
        len(words(tokenizer.decode(message)))
        for index in range(len(corpus))
        for message in corpus.messages(index)
        if is_scored(message, learn_from)
    )


def _share(found: Sequence[bool]) -> float:
    return sum(found) / max(1, len(found))
