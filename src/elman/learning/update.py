"""Learning more: an update of a bot's weights, kept only where the gate lets it pass."""

import time
from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.data.locks import only_one
from elman.errors import ElmanError
from elman.evaluate.exposure import Planted, exposures
from elman.generate.bot import Bot
from elman.learning.gate import (
    ContextGain,
    Costs,
    Flaws,
    Tested,
    judge_context,
    judge_flaw,
    judge_new,
    judge_old,
    judge_poison,
    poisoned,
)
from elman.learning.lessons import Exchange, Lessons, lessons, talks_of
from elman.learning.past import Past
from elman.learning.revision import USUAL_UPDATE, UpdateSettings, keep_learned, revise
from elman.model import versions
from elman.model.folder import REPLIES, folder_of, is_built_in
from elman.model.replay import drawn
from elman.model.versions import Version
from elman.runtime.choose import load_bot

MAX_OLD_HELD_OUT_TOKENS = 60_000
"""Of the held-out talk of before, what the gate reads."""


@dataclass(frozen=True)
class Outcome:
    """How an update ended.

    Args:
        version: that the bot is now; None where it was refused, and the bot is as it was.
        tests: of the gate.
        report: all of it, as JSON.
    """

    version: Version | None
    tests: list[Tested]
    report: dict[str, Any]


def learn(
    home: Path,
    exchanges: Sequence[Exchange] = (),
    dataset: Dataset | None = None,
    own_words: Set[str] = frozenset(),
    *,
    settings: UpdateSettings = USUAL_UPDATE,
    tell: Callable[[str], None] = lambda text: None,
    trust: Collection[str] = (),
) -> Outcome:
    """Update a bot by what is new; whatever ends this before its end, the bot is as it was.

    Args:
        home: its folder.
        exchanges: what was approved or corrected.
        dataset: conversations, as the bot sees them.
        own_words: what the bot has said, word for word, that nobody approved.
        settings: how it learns.
        tell: told in words what is done.
        trust: cells from outside Elman whose code may run.

    Raises:
        ElmanError: where there is too little to learn, nothing to replay, or the folder cannot be
            written.
    """
    if is_built_in(folder_of(home)):
        raise ElmanError(
            f"{folder_of(home).name}: comes with Elman and stays as it is; elman train makes one "
            "of yours"
        )
    began = time.monotonic()
    with only_one(home, tell):
        old = versions.keep_first(home)
        before = load_bot(old.folder, "float32", trust)
        past = Past.of(before)
        tell(f"what was learned before is replayed from its {past.source}")
        talk = past.talk
        saved = before.data
        new = lessons(
            talks_of(before.tokenizer, saved.learn_from, exchanges, dataset, saved.redact),
            before.tokenizer,
            learned_before=Corpus.joined(talk.train, talk.later),
            held_out_before=Corpus.joined(talk.held_out, talk.later_held_out),
            own_words=own_words,
        )
        for why, count in new.left_out.items():
            tell(f"{count:,} left out: {why}")
        tell(f"{new.turns:,} new turns are learned, {len(new.held_out):,} talks held out")
        with versions.draft(home, old) as folder:
            facts = revise(folder, past, new, settings, trust)
            after = load_bot(folder, "float32", trust)
            tell("the gate compares both versions")
            tests, series = judged(before, after, past, new, saved.learn_from)
            failed = [each.name for each in tests if each.passed is False]
            report = {
                "learned": {"turns": new.turns, "talks": len(new.learned), "people": new.people},
                "left_out": new.left_out,
                "replay": facts | {"from": past.source},
                "tests": [each.to_json() for each in tests],
                "failed": failed,
                **series,
                "seconds": round(time.monotonic() - began, 1),
            }
            if failed and settings.gate:
                return Outcome(None, tests, report)
            keep_learned(folder, after, past, new, replies=(old.folder / REPLIES).exists())
            version = versions.keep(home, folder, by="learn", parent=old, report=report)
        versions.make_current(home, version)
    return Outcome(version, tests, report)


def judged(
    before: Bot, after: Bot, past: Past, new: Lessons, learn_from: str
) -> tuple[list[Tested], dict[str, Any]]:
    """Put two versions through the gate.

    Returns:
        Its tests; and what the curve over versions is drawn of.
    """
    first = drawn(past.talk.held_out, MAX_OLD_HELD_OUT_TOKENS)
    known = Corpus.joined(first, drawn(past.talk.later_held_out, MAX_OLD_HELD_OUT_TOKENS))
    talk = poisoned(before.tokenizer)

    def costs(corpus: Corpus, learn_from: str = learn_from) -> tuple[Costs, Costs]:
        return Costs.of(before, corpus, learn_from), Costs.of(after, corpus, learn_from)

    on_new = costs(new.held_out)
    tests = [judge_new(*on_new)]
    series = {"new_held_out": [each.bits_per_byte for each in on_new]}
    if len(known):
        on_old = costs(known)
        tests.append(judge_old(*on_old))
        gains = (ContextGain.of(bot, known, learn_from) for bot in (before, after))
        tests.append(judge_context(*gains))
        series["first_held_out"] = [each.first(len(first)).bits_per_byte for each in on_old]
    else:
        nothing = "nothing is held out of what it learned before: none can tell"
        tests.append(Tested("old held-out talk", False, None, None, nothing))
    where = Corpus.joined(known, new.held_out)
    flaws = [Flaws.of(bot, where, learn_from) for bot in (before, after)]
    tests += [
        judge_flaw("loops", flaws[0].loops, flaws[1].loops),
        judge_flaw("repeats", flaws[0].repeats, flaws[1].repeats),
        judge_poison(*costs(talk, "bot")),
        judge_exposure(before, after, past.planted),
    ]
    return tests, series


def judge_exposure(before: Bot, after: Bot, planted: Sequence[Planted]) -> Tested:
    """Test that planted secrets are not found more easily, where there are any."""
    if not planted:
        why = "no canaries were planted, or the data is gone"
        return Tested("exposure", None, None, None, why)
    was, now = (
        np.array([each.bits for each in exposures(bot.decoder, bot.tokenizer, planted, 0)])
        for bot in (before, after)
    )
    return judge_flaw("exposure", was, now, " bits")
