"""What is done with the best weights when learning has ended: what they reply best by."""

from collections.abc import Collection
from pathlib import Path

from elman.generate import index_files
from elman.generate.calibrate import Choice, fit_replies
from elman.generate.manners import gains_of
from elman.generate.network import NetworkBot, load_network_bot
from elman.generate.penalties import PEOPLE, people_habits
from elman.generate.positions import HeldOut
from elman.generate.scoring import subset, texts_of
from elman.generate.taught import common_words, write_common_words
from elman.model.config import ReplyConfig
from elman.model.folder import INT8_WEIGHTS
from elman.model.replay import NOTHING, Replay, write_replay
from elman.native.library import load
from elman.runtime.choose import MAX_INT8_LOSS, int8_loss
from elman.runtime.int8_weights import write_int8
from elman.runtime.weights import is_known, load_weights
from elman.train.config import Config, write_config
from elman.train.prepare import Data
from elman.train.runlog import Tell

FITTING_TOKENS, COMPARED_TOKENS = 130_000, 50_000
"""Tokens that are read to find out how a bot replies best; and to count wrong answers."""

INT8_TOKENS = 20_000
"""Held-out tokens that are read to find out what int8 weights cost."""


def learn_to_reply(config: Config, out: Path, data: Data, tell: Tell) -> None:
    """Find by held-out talk what int8 weights cost and how a reply is chosen, and keep replies of
    people in the bot's folder, with a sample of what was learned. Without replies, no sample.

    The folder already holds the best weights. What is given in the configuration stays.
    """
    config = with_int8(config, out, data)
    reply, saved = config.reply, config.data
    if not (reply.open or saved.replies):
        return
    bot = load_network_bot(out, trust=config.model.outside_cells)
    tell("stage", text="comparing replies with people's")
    decoder = bot.decoder
    heldout = HeldOut.of(decoder, bot.tokenizer, data.dev, saved.learn_from)
    if reply.open:
        config = config.model_copy(update={"reply": fitted(reply, bot, data, heldout)})
        write_config(out, config)
    if not saved.replies:
        return
    tell("stage", text="keeping people's replies")
    index = index_files.build(
        decoder, bot.tokenizer, data.train, saved.learn_from, saved.replies, heldout
    )
    if index is not None:
        index_files.save(out, index, bot, saved.path)
    write_common_words(out, common_words(texts_of(data.train, data.tokenizer)))
    write_replay(out, Replay(data.train, data.dev or NOTHING), data.tokenizer)


def with_int8(config: Config, out: Path, data: Data) -> Config:
    """Measure what int8 weights cost, keep them where it is next to nothing, and write it down.

    Returns:
        The configuration, with what they cost where that could be measured.
    """
    (out / INT8_WEIGHTS).unlink(missing_ok=True)
    loss = measured_int8_loss(out, data, config.model.outside_cells)
    if loss is None:
        return config
    if loss <= MAX_INT8_LOSS:
        write_int8(out, data.tokenizer)
    config = config.model_copy(update={"int8_loss": loss})
    write_config(out, config)
    return config


def measured_int8_loss(out: Path, data: Data, trust: Collection[str]) -> float | None:
    """Measure what int8 weights cost the bot of a folder on held-out conversations.

    Returns:
        A share of its bits; None where nothing is held out, or the compiled library cannot run it.
    """
    if data.dev is None or load()[0] is None:
        return None
    if not is_known(data.config.model):
        return None
    few = subset(data.dev, INT8_TOKENS)
    rows = [few[index] for index in range(len(few))]
    return round(int8_loss(load_weights(out, trust), rows), 6)


def fitted(reply: ReplyConfig, bot: NetworkBot, data: Data, heldout: HeldOut | None) -> ReplyConfig:
    """Find what is open of how a bot replies, by people's replies and held-out conversations.

    Args:
        reply: what is given in it stays.
        bot: with the best weights.
        data: what was learned.
        heldout: replies to compare with, if there are any.
    """
    found: dict[str, float] = {}
    habits = people_habits(data.train, bot.tokenizer, data.config.data.learn_from)
    if habits is not None:
        found |= {f"people_{name}": value for name, value in habits._asdict().items()}
    if heldout is not None:
        given = {name: getattr(reply, name) for name in set(Choice._fields) - reply.open}
        limits = habits or PEOPLE
        gains = gains_of(bot)
        found |= fit_replies(bot.decoder, bot.tokenizer, heldout, limits, given, gains)._asdict()
    found = {name: value for name, value in found.items() if name in reply.open}
    return reply.model_copy(update=found | {"fitted": sorted(found)})


def tokens_read(config: Config, data: Data) -> int:
    """Estimate the tokens that `learn_to_reply` reads.

    These are what stands before each of people's replies, each of those by itself, and what is
    compared.
    """
    replies = config.data.replies
    compared = (replies > 0) * COMPARED_TOKENS + bool(config.reply.open) * FITTING_TOKENS
    messages = data.train.message_count
    return compared + 2 * data.train.tokens * min(replies, messages) // max(1, messages)
