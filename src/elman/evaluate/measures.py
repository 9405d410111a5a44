"""One report of all measures."""

from dataclasses import asdict, dataclass
from typing import Any

from elman.data.corpus import Corpus
from elman.evaluate.context import context_gain, gain_by_lag
from elman.evaluate.replies import distinct, median_length, repeated, sample_replies
from elman.model.checkpoint import Bot
from elman.model.decoding import Sampling
from elman.model.scoring import bits_per_byte, subset

REPLIES = 200
CONTEXT_TOKENS = 40_000
LAGS = 8
LAG_REPLIES = 128


@dataclass(frozen=True)
class Report:
    """Measures on held-out conversations; docs/measures.md says what each means.

    A measure is None where the conversations do not allow it.
    """

    bits_per_byte: float
    context_gain: float | None
    context_gain_interval: tuple[float, float] | None
    context_gain_other: float | None
    context_gain_other_interval: tuple[float, float] | None
    context_replies: int
    context_gain_by_lag: list[float] | None
    distinct_1: float
    distinct_2: float
    distinct_1_people: float
    distinct_2_people: float
    repeated_replies: float
    repeated_replies_people: float
    reply_words: float
    reply_words_people: float
    replies: int
    conversations: int
    messages: int
    learn_from: str
    seed: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(bot: Bot, corpus: Corpus, learn_from: str, seed: int = 0) -> Report:
    """Measure a bot.

    Bits per byte are taken over the whole corpus, the context gains over its first conversations
    (about 40,000 tokens), the replies over 200 places drawn by `seed`.

    Args:
        bot: to be measured.
        corpus: conversations that it has not learned from.
        learn_from: whose messages count, "bot" or "all".
        seed: of everything that is drawn.
    """
    gains = context_gain(bot.chatbot, subset(corpus, CONTEXT_TOKENS), bot.tokenizer, learn_from)
    none, other, replies = gains or (None, None, 0)
    pairs = sample_replies(
        bot.chatbot, corpus, bot.tokenizer, learn_from, Sampling(seed=seed), REPLIES, seed
    )
    ours = [pair.bot for pair in pairs]
    theirs = [pair.person for pair in pairs]
    return Report(
        bits_per_byte=bits_per_byte(bot.chatbot, corpus, bot.tokenizer, learn_from),
        context_gain=none.mean if none else None,
        context_gain_interval=none.interval(seed) if none else None,
        context_gain_other=other.mean if other else None,
        context_gain_other_interval=other.interval(seed) if other else None,
        context_replies=replies,
        context_gain_by_lag=gain_by_lag(
            bot.chatbot,
            corpus,
            bot.tokenizer,
            learn_from,
            lags=LAGS,
            replies=LAG_REPLIES,
            seed=seed,
        ),
        distinct_1=distinct(ours, 1),
        distinct_2=distinct(ours, 2),
        distinct_1_people=distinct(theirs, 1),
        distinct_2_people=distinct(theirs, 2),
        repeated_replies=repeated(ours),
        repeated_replies_people=repeated(theirs),
        reply_words=median_length(ours),
        reply_words_people=median_length(theirs),
        replies=len(pairs),
        conversations=len(corpus),
        messages=sum(len(corpus.messages(index)) for index in range(len(corpus))),
        learn_from=learn_from,
        seed=seed,
    )
