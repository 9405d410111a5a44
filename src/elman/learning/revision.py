"""Training a copy of a bot on what is new, beside what it learned before, and writing it."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from elman.data.corpus import Corpus, scored
from elman.data.layout import Layout
from elman.generate import index_files
from elman.generate.bot import Bot
from elman.generate.network import load_network_bot
from elman.generate.positions import HeldOut
from elman.generate.scoring import texts_of
from elman.generate.taught import common_words, write_common_words
from elman.learning.lessons import Lessons
from elman.learning.mixing import MixedBatches
from elman.learning.past import Past
from elman.model import build
from elman.model.checkpoint import save_weights
from elman.model.folder import REPLAY, REPLIES
from elman.model.replay import write_replay
from elman.train.config import Config
from elman.train.finishing import with_int8
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


USUAL_UPDATE = UpdateSettings()


def revise(
    folder: Path,
    past: Past,
    new: Lessons,
    settings: UpdateSettings = USUAL_UPDATE,
    trust: Collection[str] = (),
) -> dict[str, Any]:
    """Train the network in a folder on what is new, beside as much replay, and write it there.

    The replies that it kept of people go: other weights do not find them.

    Args:
        folder: a draft that holds all files of the version to go on from.
        past: what that version learned.
        new: what it learns now.
        settings: how.
        trust: cells from outside Elman whose code may run.

    Returns:
        The facts: steps, and rows of each kind in a batch.
    """
    bot = load_network_bot(folder, trust=trust)
    config = Config.make(bot.config)
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
    (folder / REPLIES).unlink(missing_ok=True)
    save_weights(folder, chatbot, bot.tokenizer)
    held_out = past.talk.held_out if len(past.talk.held_out) else None
    with_int8(config, folder, Data(bot.tokenizer, past.talk.train, held_out, config))
    return facts


def _spent(steps: int, epochs: float, settings: UpdateSettings) -> float:
    return min(epochs / settings.epochs, steps / MIN_UPDATE_STEPS)


def keep_learned(folder: Path, bot: Bot, past: Past, new: Lessons, replies: bool) -> None:
    """Keep beside new weights what was learned: people's replies, a sample, and common words.

    Args:
        folder: of the weights.
        bot: that is loaded from it.
        past, new: what it has learned.
        replies: whether replies are kept, as the new weights find them.
    """
    talk, saved = past.talk, bot.data
    if replies:
        held_out = talk.held_out if len(talk.held_out) else None
        bound = HeldOut.of(bot.decoder, bot.tokenizer, held_out, saved.learn_from)
        every = Corpus.joined(talk.train, talk.later, new.learned)
        index = index_files.build(
            bot.decoder, bot.tokenizer, every, saved.learn_from, saved.replies, bound
        )
        if index is not None:
            index_files.save(folder, index, bot, saved.path)
    if not saved.replies:
        (folder / REPLAY).unlink(missing_ok=True)
        return
    write_replay(folder, talk.with_later(new.talk), bot.tokenizer)
    texts = texts_of(Corpus.joined(talk.train, talk.later), bot.tokenizer)
    write_common_words(folder, common_words(texts))
