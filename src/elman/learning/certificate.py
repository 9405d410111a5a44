"""What can be shown of a bot that was made to forget, and what cannot be undone."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from elman.data.corpus import Corpus
from elman.evaluate.audit import Exposure, draw_replies
from elman.evaluate.exposure import exposures
from elman.evaluate.membership import Auc, auc, encoded_for, losses
from elman.evaluate.spans import longest_spans, with_spans_of
from elman.generate.bot import Bot
from elman.learning.selection import Selection
from elman.model.replay import NOTHING, drawn

CERTIFIED_SAMPLES = 10_000
"""Replies that are drawn to look for what was forgotten."""

CERTIFIED_CANARIES = 64
"""Canaries that stay, of which the exposure is told, at most."""

NOT_UNDONE = (
    "copies of the bot that somebody has, and backups of its folder",
    "the conversations themselves: the file that it learned from is left as it is",
    "what others said about it, and what they quoted",
    "what the bot said to somebody while it knew",
    "blocks of a disk that were freed and not overwritten",
)


@dataclass(frozen=True)
class Remnant:
    """What a bot shows of something.

    Args:
        exposure: of canaries that were to be forgotten.
        others: of canaries that stay.
        membership: the conversations in which something went against those that were never seen.
        samples: replies that were drawn.
        repeating: how many of them have 8 tokens in a row that were said there and nowhere else in
            what is learned now.
        longest_tokens: the longest run of what was said there, whoever else said it.
        unlearned_repeating: how many replies have such a run of talk that was never learned, which
            is chance; None where nothing was held out.
        own_tokens, unlearned_tokens: how much of both was looked for.
    """

    exposure: Exposure | None
    others: Exposure | None
    membership: Auc | None
    samples: int
    repeating: int
    longest_tokens: int
    unlearned_repeating: int | None
    own_tokens: int
    unlearned_tokens: int


@dataclass(frozen=True)
class Certificate:
    """What was forgotten, and how well.

    Args:
        digests: of whom and what, as the configuration has them.
        messages, conversations: how much went.
        before, after: what the bot showed of it.
        counts_subtracted: whether the new counts, less what stays of those conversations, are byte
            by byte the old ones less what was there; None where the vocabulary is another.
        versions_removed: ids.
        started_from: what the net was trained from again, which never saw it: a bot, or a version;
            None: nothing.
        steps: of training.
        not_undone: what cannot be undone, in words.
    """

    digests: tuple[str, ...]
    messages: int
    conversations: int
    before: Remnant
    after: Remnant
    counts_subtracted: bool | None
    versions_removed: tuple[str, ...]
    started_from: str | None
    steps: int
    not_undone: tuple[str, ...] = NOT_UNDONE

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """Write it for people."""
        much = f"{self.messages:,} messages of {self.conversations:,} conversations"
        start = f"{self.started_from or 'nothing'}, which never saw them"
        found = [
            f"forgotten: {', '.join(self.digests)}",
            f"{much} are learned from no more",
            f"the net was trained anew from {start}, in {self.steps:,} steps",
        ]
        for name, shown in (("before", self.before), ("after", self.after)):
            found += [f"{name}: {line}" for line in _remnant_lines(shown)]
        if self.counts_subtracted is not None:
            same = "are" if self.counts_subtracted else "are NOT"
            found.append(f"the counts {same}, byte by byte, those of before less what went")
        if self.versions_removed:
            found.append(
                f"versions that had seen it were deleted: {', '.join(self.versions_removed)}"
            )
        return [*found, *(f"not undone: {each}" for each in self.not_undone)]


def _remnant_lines(remnant: Remnant) -> list[str]:
    found = []
    for name, exposure in (("", remnant.exposure), (" that stay", remnant.others)):
        if exposure is not None:
            low, high = exposure.interval
            found.append(
                f"exposure of {exposure.canaries} canaries{name}: {exposure.bits:.2f} bits "
                f"({low:.2f} to {high:.2f}); of text that was never learned "
                f"{exposure.unlearned_bits:.2f}"
            )
    if remnant.membership is not None:
        low, high = remnant.membership.interval
        found.append(
            f"told from conversations that were never seen: AUC {remnant.membership.auc:.3f} "
            f"({low:.3f} to {high:.3f}); 0.5 is chance"
        )
    found.append(
        f"{remnant.repeating:,} of {remnant.samples:,} replies have 8 tokens in a row that "
        f"stand in it alone; the longest run of it, whoever else said it, is "
        f"{remnant.longest_tokens} tokens"
    )
    if remnant.unlearned_repeating is not None:
        found.append(
            f"by chance, of talk that was never learned: {remnant.unlearned_repeating:,} replies "
            f"({remnant.unlearned_tokens:,} tokens of it; of the forgotten {remnant.own_tokens:,})"
        )
    return found


def remnant(
    bot: Bot,
    selection: Selection,
    stays: Corpus,
    held_out: Corpus | None,
    learn_from: str,
    base: Bot | None,
    *,
    encoded_by: Bot,
    samples: int,
    seed: int,
) -> Remnant:
    """Measure what a bot shows of what is to be forgotten.

    Args:
        bot: before or after.
        selection: what goes.
        stays: all that is learned without it.
        held_out: conversations that were never learned from.
        learn_from: whose messages are learned.
        base: the bot that it started from, which calibrates.
        encoded_by: whose tokenizer encoded the conversations.
        samples: replies that are drawn.
        seed: of all that is drawn.
    """

    def own(corpus: Corpus, whose: Bot) -> Corpus:
        return encoded_for(corpus, encoded_by.tokenizer, whose.tokenizer)

    def cost(corpus: Corpus) -> np.ndarray:
        found = losses(bot, own(corpus, bot), learn_from)
        if base is not None:
            found = found - losses(base, own(corpus, base), learn_from)
        known: np.ndarray = found[~np.isnan(found)]
        return known

    def exposed(planted: Sequence[Any]) -> Exposure | None:
        some = list(planted)[:CERTIFIED_CANARIES]
        return Exposure.of(exposures(bot.decoder, bot.tokenizer, some, seed), seed)

    unseen = None if held_out is None else own(held_out, bot)
    said = draw_replies(bot, unseen, learn_from, samples, seed)
    theirs = own(selection.own, bot)
    runs = longest_spans(said, theirs)
    rest = own(stays, bot)
    never = NOTHING if unseen is None else drawn(unseen, len(theirs.ids))
    return Remnant(
        exposure=exposed(selection.planted),
        others=exposed(selection.stays),
        membership=None if held_out is None else auc(cost(selection.before), cost(held_out), seed),
        samples=samples,
        repeating=sum(with_spans_of(said, theirs, rest)),
        longest_tokens=max((run.length for run in runs if run is not None), default=0),
        unlearned_repeating=sum(with_spans_of(said, never, rest)) if len(never) else None,
        own_tokens=len(theirs.ids),
        unlearned_tokens=len(never.ids),
    )
