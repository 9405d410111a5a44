"""What is done with the best weights when learning has ended: what they reply best by."""

from pathlib import Path

from elman.data.tokenizer import END
from elman.generate import index_files
from elman.generate.calibrate import fit_mmi_weight
from elman.generate.network import decoder_of
from elman.generate.positions import HeldOut
from elman.model.checkpoint import load_bot
from elman.train.config import Config, write_config
from elman.train.prepare import Data
from elman.train.runlog import Tell

COMPARED = 50_000
"""Tokens that are read to find out how much of a reply's likelihood is taken off, and as many to
count wrong answers.
"""


def learn_to_reply(config: Config, out: Path, data: Data, tell: Tell) -> None:
    """Find by held-out replies how one is chosen, and keep replies of people in the bot's folder.

    The folder already holds the best weights. What is given in the configuration stays.
    """
    reply, saved = config.reply, config.data
    if not (reply.fits or saved.replies):
        return
    bot = load_bot(out, trust=config.model.outside_cells)
    tell("stage", text="comparing replies with people's")
    decoder = decoder_of(bot)
    heldout = HeldOut.of(decoder, data.dev, saved.learn_from)
    if reply.fits and heldout is not None:
        found = {"mmi_weight": fit_mmi_weight(decoder, bot.tokenizer, heldout), "fitted": True}
        config = config.changed(reply=found)
        write_config(out, config)
    if not saved.replies:
        return
    tell("stage", text="keeping people's replies")
    index = index_files.build(
        decoder, bot.tokenizer, data.train, saved.learn_from, saved.replies, heldout
    )
    if index is not None:
        index_files.save(out, index, bot.chatbot, bot.tokenizer, saved.path)


def tokens_read(config: Config, data: Data) -> int:
    """Estimate the tokens that `learn_to_reply` reads.

    These are what stands before each of people's replies, each of those by itself, and what is
    compared.
    """
    replies = config.data.replies
    compared = ((replies > 0) + config.reply.fits) * COMPARED
    messages = int((data.train.ids == END).sum())
    return compared + 2 * len(data.train.ids) * min(replies, messages) // max(1, messages)
