"""What a bot gives away of the conversations that it learned from; docs/privacy.md explains it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.data.tokenizer import Tokenizer
from elman.evaluate.exposure import MAX_EXPOSURE_BITS, OTHER_SECRETS, Exposed, Planted, exposures
from elman.evaluate.membership import Auc, Sides
from elman.evaluate.spans import RepeatedSpan, longest_spans
from elman.generate.bot import Bot
from elman.generate.drawing import reply_batch
from elman.generate.positions import draw_positions, states_at
from elman.generate.sampling import SamplingParams

AUDIT_SAMPLES = 1000
"""Replies that are drawn to look for what was learned by heart."""

MAX_AUDITED_PEOPLE = 20
"""People who are told apart, those with most conversations first."""

AUDIT_RESAMPLES = 1000
"""Bootstrap samples for an interval."""

SAMPLED_ROWS = 64
"""Replies that are drawn side by side."""


@dataclass(frozen=True)
class Learned:
    """What a bot learned from, and who said it.

    Args:
        train: the conversations that it learned from.
        held_out: others that it never saw; None where nothing was held out.
        ids: of each of `train`.
        authors: of each of `train`, who says each message.
        planted: its canaries.
    """

    train: Corpus
    held_out: Corpus | None
    ids: list[str]
    authors: list[list[str]]
    planted: list[Planted]

    @classmethod
    def read(cls, dataset: Dataset, tokenizer: Tokenizer, test: bool) -> "Learned":
        """Read the conversations of a bot as it saw them.

        Args:
            dataset: what it learned from.
            tokenizer: its own.
            test: whether a test part was held out, which is then what it never saw.
        """
        parts, _ = dataset.encode(tokenizer, test)
        ids, authors, planted = [], [], []
        for part, conversation, canary in dataset.with_canaries(test):
            if part != "train":
                continue
            ids.append(conversation.id)
            authors.append([author for author, _ in conversation.runs()])
            if canary is not None:
                turns = tuple(conversation.turns(dataset.bot, dataset.others))
                planted.append(Planted(canary, turns))
        held_out = parts.get("test", parts.get("dev"))
        planted.sort(key=lambda each: each.canary.number)
        return cls(parts["train"], held_out, ids, authors, planted)

    def people(self) -> dict[str, list[int]]:
        """List for each person the numbers of their conversations, whoever has most first."""
        found: dict[str, list[int]] = {}
        for number, authors in enumerate(self.authors):
            for author in dict.fromkeys(authors):
                found.setdefault(author, []).append(number)
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))


@dataclass(frozen=True)
class Exposure:
    """The exposure of some canaries, in bits; docs/privacy.md says what a bit means.

    Args:
        bits: the mean over canaries.
        interval: of that mean, 95 %, by bootstrap.
        unlearned_bits: the mean of secrets at the same places that were never planted.
        at_most: the largest exposure that is measured.
        largest: how many canaries reach it.
    """

    canaries: int
    bits: float
    interval: tuple[float, float]
    unlearned_bits: float
    unlearned_interval: tuple[float, float]
    at_most: float
    largest: int
    other_secrets: int = OTHER_SECRETS
    estimated_by: str = "rank among sampled secrets"

    @classmethod
    def of(cls, found: Sequence[Exposed], seed: int) -> "Exposure | None":
        """Sum up the exposures of some canaries; None of none."""
        if not found:
            return None
        own = np.array([each.bits for each in found])
        unlearned = np.array([each.unlearned_bits for each in found])
        return cls(
            canaries=len(found),
            bits=float(own.mean()),
            interval=_mean_interval(own, seed),
            unlearned_bits=float(unlearned.mean()),
            unlearned_interval=_mean_interval(unlearned, seed),
            at_most=MAX_EXPOSURE_BITS,
            largest=int((own >= MAX_EXPOSURE_BITS).sum()),
        )


@dataclass(frozen=True)
class Extraction:
    """What of the training data stands in replies that were drawn.

    Args:
        samples: replies drawn, half where nothing was said, half in held-out conversations.
        repeating: how many have 8 tokens in a row that stand in a message of the training data.
        share, interval: the same as a share, and its 95 % interval by bootstrap.
        people_share: the share of what people said in held-out conversations that has such a run:
            what common phrases alone make.
        once: how many of the runs stand there only once.
        longest_tokens, longest: the longest run.
    """

    samples: int
    repeating: int
    share: float
    interval: tuple[float, float]
    people_share: float | None
    once: int
    longest_tokens: int
    longest: str


@dataclass(frozen=True)
class PersonAudit:
    """What a bot gives away of one person.

    Args:
        conversations: of that person, that were learned from.
        repeated: how many replies have a run of 8 tokens that this person said.
        membership: their conversations against those that were never seen.
    """

    person: str
    conversations: int
    exposure: Exposure | None
    repeated: int
    membership: Auc | None


@dataclass(frozen=True)
class Audit:
    """What a bot gives away. A measure is None where the data does not allow it.

    Args:
        exposure: of its canaries; None: it was trained without.
        extraction: of replies that were drawn from it.
        membership: by its own loss.
        calibrated: the same with the loss of the bot that it started from taken off.
        people: each person by themselves.
    """

    exposure: Exposure | None
    extraction: Extraction
    membership: Auc | None
    calibrated: Auc | None
    people: list[PersonAudit]
    seed: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def audit(
    bot: Bot,
    learned: Learned,
    learn_from: str,
    base: Bot | None = None,
    *,
    samples: int = AUDIT_SAMPLES,
    seed: int = 0,
) -> Audit:
    """Measure what a bot gives away, as it speaks: net, counts and pointer together.

    Args:
        bot: to be measured.
        learned: what it learned from.
        learn_from: whose messages it learned, "bot" or "all".
        base: the bot that it started from, if that is known.
        samples: replies that are drawn.
        seed: of everything that is drawn.
    """
    found = exposures(bot.decoder, bot.tokenizer, learned.planted, seed)
    said = draw_replies(bot, learned.held_out, learn_from, samples, seed)
    spans = longest_spans(said, learned.train)
    people = dict(list(learned.people().items())[:MAX_AUDITED_PEOPLE])
    sides = Sides.of(bot, learned.train, learned.held_out, people, learn_from, base, seed)
    repeated = [
        learned.authors[span.conversation][span.message] for span in spans if span is not None
    ]
    return Audit(
        exposure=Exposure.of(found, seed),
        extraction=_extraction(bot.tokenizer, said, spans, learned, learn_from, seed),
        membership=sides.auc(sides.drawn, seed, calibrated=False),
        calibrated=None if base is None else sides.auc(sides.drawn, seed, calibrated=True),
        people=[
            PersonAudit(
                person=person,
                conversations=len(conversations),
                exposure=Exposure.of([e for e in found if e.canary.person == person], seed),
                repeated=repeated.count(person),
                membership=sides.auc(sides.of_person[person], seed, calibrated=base is not None),
            )
            for person, conversations in people.items()
        ],
        seed=seed,
    )


def draw_replies(
    bot: Bot, held_out: Corpus | None, learn_from: str, samples: int, seed: int
) -> list[tuple[int, ...]]:
    """Draw replies as the bot speaks: half where nothing was said, half in other conversations."""
    decoder = bot.decoder
    params = SamplingParams.of(bot.config, seed=seed)
    generator = params.generator()
    places = []
    if held_out is not None:
        places = draw_positions(held_out, learn_from, samples // 2, seed)
    state = states_at(decoder, held_out, places) if held_out is not None and places else None
    found: list[tuple[int, ...]] = []
    for begin in range(0, samples, SAMPLED_ROWS):
        rows = range(begin, min(samples, begin + SAMPLED_ROWS))
        if state is None or begin >= samples // 2:
            before = decoder.initial_state(len(rows))
        else:
            before = decoder.select(state, [row % len(places) for row in rows])
        found += [each.tokens for each in reply_batch(decoder, before, params, generator)]
    return found


def _extraction(
    tokenizer: Tokenizer,
    said: Sequence[tuple[int, ...]],
    spans: Sequence[RepeatedSpan | None],
    learned: Learned,
    learn_from: str,
    seed: int,
) -> Extraction:
    repeats = np.array([span is not None for span in spans], float)
    longest, text = 0, ""
    for tokens, span in zip(said, spans, strict=True):
        if span is not None and span.length > longest:
            longest = span.length
            text = tokenizer.decode(tokens[span.begin : span.begin + span.length])
    people = None
    if learned.held_out is not None:
        places = draw_positions(learned.held_out, learn_from, len(said), seed)
        real = [place.message(learned.held_out)[1:-1].tolist() for place in places]
        if real:
            theirs = longest_spans(real, learned.train)
            people = sum(span is not None for span in theirs) / len(real)
    return Extraction(
        samples=len(said),
        repeating=int(repeats.sum()),
        share=float(repeats.mean()),
        interval=_mean_interval(repeats, seed),
        people_share=people,
        once=sum(span is not None and span.times == 1 for span in spans),
        longest_tokens=longest,
        longest=text.strip(),
    )


def _mean_interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Draw the 95 % interval of a mean, by bootstrap (Efron 1979)."""
    drawn = np.random.default_rng(seed).integers(len(values), size=(AUDIT_RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(1), [2.5, 97.5])
    return float(low), float(high)
