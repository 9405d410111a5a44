"""Learning more: an update of a bot's weights, kept only where the gate lets it pass."""

import time
from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elman.data.corpus import Corpus, scored
from elman.data.dataset import Dataset
from elman.data.layout import Layout
from elman.data.locks import only_one
from elman.errors import ElmanError
from elman.evaluate.exposure import Planted, exposures
from elman.generate import index_files
from elman.generate.bot import Bot
from elman.generate.network import load_network_bot
from elman.generate.positions import HeldOut
from elman.generate.scoring import texts_of
from elman.generate.taught import common_words, write_common_words
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
from elman.learning.mixing import MixedBatches
from elman.learning.past import Past
from elman.model import build, versions
from elman.model.chatbot import Chatbot
from elman.model.checkpoint import save_weights
from elman.model.folder import BASE, REPLAY, REPLIES, folder_of
from elman.model.replay import Replay, drawn, write_replay
from elman.model.versions import Version
from elman.runtime.choose import load_bot
from elman.train.config import Config, write_config
from elman.train.finishing import measured_int8_loss
from elman.train.optim import make_optimizer
from elman.train.prepare import Data
from elman.train.schedule import rate
from elman.train.trainer import Trainer

UPDATE_EPOCHS = 3
"""Passes over what is new."""

MIN_UPDATE_STEPS = 12

UPDATE_LR_SHARE = 0.3
"""Of the learning rate of training, at its highest."""

MIN_NEW_ROWS = 2
WINDOWS_AN_EPOCH = 4
"""Into how many windows what is new is cut at least, where it is little: rows are fewer then."""

MESSAGE_TOKENS = 16
"""Tokens of a message, about: to count the rows of windows of messages."""

MAX_OLD_HELD_OUT_TOKENS = 60_000
"""Of the held-out talk of before, what the gate reads."""


@dataclass(frozen=True)
class UpdateSettings:
    """How an update learns. What differs from this is for experiments.

    Args:
        replay: whether half of each batch is replay.
        gate: whether an update that fails is refused.
        epochs: over what is new.
        lr_share: of the learning rate of training.
        seed: of the order and of dropout.
    """

    replay: bool = True
    gate: bool = True
    epochs: float = UPDATE_EPOCHS
    lr_share: float = UPDATE_LR_SHARE
    seed: int = 0


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
    settings: UpdateSettings = UpdateSettings(),
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
    if folder_of(home) == BASE:
        raise ElmanError(
            "base: comes with Elman and stays as it is; elman train makes one of yours"
        )
    began = time.monotonic()
    with only_one(home, tell):
        old = versions.keep_first(home)
        before = load_bot(old.folder, "float32", trust)
        config = Config.make(before.config)
        past = Past.of(before)
        tell(f"what was learned before is replayed from its {past.source}")
        talk = past.talk
        saved = config.data
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
        chatbot, facts = updated(old, config, past, new, settings, trust)
        with versions.draft(home, old) as folder:
            (folder / REPLIES).unlink(missing_ok=True)
            save_weights(folder, chatbot, before.tokenizer)
            data = Data(before.tokenizer, talk.train, talk.held_out, config)
            if len(talk.held_out) and (loss := measured_int8_loss(folder, data, trust)) is not None:
                write_config(folder, config.model_copy(update={"int8_loss": loss}))
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
            if (old.folder / REPLIES).exists():
                _keep_replies(folder, after, past, new)
            if saved.replies:
                kept = Replay(
                    talk.train,
                    talk.held_out,
                    Corpus.joined(talk.later, new.learned),
                    Corpus.joined(talk.later_held_out, new.held_out),
                )
                write_replay(folder, kept, before.tokenizer)
                texts = texts_of(Corpus.joined(talk.train, talk.later), before.tokenizer)
                write_common_words(folder, common_words(texts))
            else:
                (folder / REPLAY).unlink(missing_ok=True)
            version = versions.keep(home, folder, by="learn", parent=old, report=report)
        versions.make_current(home, version)
    return Outcome(version, tests, report)


def updated(
    old: Version,
    config: Config,
    past: Past,
    new: Lessons,
    settings: UpdateSettings,
    trust: Collection[str] = (),
) -> tuple[Chatbot, dict[str, Any]]:
    """Train a copy of a version's network on what is new, beside as much replay.

    Returns:
        The network, and the facts: steps, and tokens of each kind in a batch.
    """
    bot = load_network_bot(old.folder, trust=trust)
    train = config.train
    torch.manual_seed(settings.seed)
    chatbot = build(config.model, bot.tokenizer.vocabulary_size)
    chatbot.characters = bot.tokenizer.characters
    chatbot.load_state_dict(bot.chatbot.state_dict())
    replay = Corpus.joined(past.talk.train, past.talk.later)
    counted = past.source == "data"
    if counted:
        every = Corpus.joined(replay, new.learned).ids
        chatbot.count(every, scored(every, config.data.learn_from))
    row = train.unfold * (1 if train.unit == "steps" else MESSAGE_TOKENS)
    rows = min(train.batch_size // 2, len(new.learned.ids) // (WINDOWS_AN_EPOCH * row))
    rows = max(MIN_NEW_ROWS, rows)
    layout = Layout(
        batch_size=rows,
        unfold=train.unfold,
        unit=train.unit,
        slide=train.slide,
        learn_from=config.data.learn_from,
        seed=settings.seed,
    )
    replay_rows = rows if settings.replay and len(replay) else 0
    batches = MixedBatches(chatbot, new.learned, replay, layout, replay_rows)
    optimizer = make_optimizer(
        train.optimizer,
        chatbot,
        lr=train.lr * settings.lr_share,
        momentum=train.momentum,
        weight_decay=train.weight_decay,
    )
    trainer = Trainer(
        chatbot,
        batches,
        bot.tokenizer,
        optimizer,
        clip=train.clip,
        precision=getattr(torch, train.precision),
        pointer_loss_weight=train.pointer_loss_weight,
    )
    while (spent := _spent(trainer.steps, batches.epochs, settings)) < 1:
        trainer.step(rate(spent, train.warmup))
    facts = {
        "steps": trainer.steps,
        "new_rows": rows,
        "replay_rows": replay_rows,
        "counts": "counted again" if counted else "as they were, for the data is gone",
    }
    return chatbot, facts


def _spent(steps: int, epochs: float, settings: UpdateSettings) -> float:
    return min(epochs / settings.epochs, steps / MIN_UPDATE_STEPS)


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


def _keep_replies(folder: Path, bot: Bot, past: Past, new: Lessons) -> None:
    """Keep people's replies, those that are new among them, as the new weights find them."""
    saved, decoder = bot.data, bot.decoder
    known = past.talk.held_out
    heldout = HeldOut.of(decoder, bot.tokenizer, known if len(known) else None, saved.learn_from)
    every = Corpus.joined(past.talk.train, past.talk.later, new.learned)
    index = index_files.build(
        decoder, bot.tokenizer, every, saved.learn_from, saved.replies, heldout
    )
    if index is not None:
        index_files.save(folder, index, bot, saved.path)
