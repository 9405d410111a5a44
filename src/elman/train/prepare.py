"""What a run is trained on: conversations read, held out and encoded."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from elman.data.corpus import Corpus, scored
from elman.data.dataset import Dataset
from elman.data.expectation import basis, hope, human
from elman.data.source import BUILT_IN
from elman.data.tokenizer import END, LEARNED, Tokenizer
from elman.errors import ElmanError
from elman.model.checkpoint import Bot, load_bot
from elman.model.scoring import subset
from elman.train.config import AUTO, Config
from elman.train.recipe import MIN_PASSES_FROM_BASE, TINY_DATA_BYTES, choose, describe, passes_from
from elman.train.runlog import Tell

HELD_OUT, LONGEST_PIECE = 1 << 20, 16
"""Bytes of each held-out part that are looked at, at least; and of a piece of text, at most."""

SAMPLE = 1 << 20
"""Bytes of text on which tokenizers are compared."""

FITS, FITS_LITTLE = 0.8, 0.5
"""A base is started from if its pieces are at least that share as long as those of a new one; of
little text, from which no bot learns a language, at least the latter.
"""


@dataclass(frozen=True)
class Data:
    """What is trained on.

    Args:
        tokenizer: what it is encoded with.
        train: what is learned.
        dev: what is held out to validate on; None where there is too little.
        config: with everything filled in that is chosen from the conversations.
        base: the bot to start from, if any; None too where a run goes on.
    """

    tokenizer: Tokenizer
    train: Corpus
    dev: Corpus | None
    config: Config
    base: Bot | None = None


def prepare(
    config: Config, tell: Tell, tokenizer: Tokenizer | None = None, trust: Collection[str] = ()
) -> Data:
    """Read and encode the conversations; with a new tokenizer, unless one is given.

    `trust` names cells from outside Elman that the bot to start from may be made of.
    """
    data = config.data
    tell("stage", text=f"reading {data.path}")
    dataset = Dataset.read(data.path, data.encoding, bot=data.bot, keep=True, **data.view())
    for line in dataset.notes.lines():
        tell("note", text=line)
    survey = dataset.survey
    held_out = max(HELD_OUT, LONGEST_PIECE * config.train.validation_tokens)
    if dataset.bot is not None:
        size = survey.text_bytes_of[dataset.bot]
        tell("note", text=hope(dataset.bot, survey.people[dataset.bot], size))
    if data.path != BUILT_IN:  # of which it is known
        tell("note", text=basis(survey.text_bytes))
    base = None
    if tokenizer is None:
        wished = config.train.base is None
        base = _base(config, dataset.texts(data.test), survey.text_bytes, tell, trust)
        config = choose(config, survey.text_bytes, base)
        for line in describe(config, survey.text_bytes, wished):
            tell("note", text=line)
        dataset = dataset.limited(config.data.most_bytes)
        if (most := config.data.most_bytes) is not None and most < survey.text_bytes:
            what = f"{human(most)} of {human(survey.text_bytes)}, {survey.chosen}"
            tell("note", text=f"learned from are {what} (data.most_bytes)")
            dataset = dataset.gathered(data.test, held_out)
        if base is not None:
            tokenizer = base.tokenizer
        else:
            tell("stage", text=f"learning {config.data.vocabulary:,} pieces of text")
            texts = dataset.texts(data.test, LEARNED)
            tokenizer = Tokenizer.train(texts, config.data.vocabulary)
    tell("stage", text="encoding")
    parts, repeated = dataset.encode(tokenizer, data.test, held_out)
    if repeated:
        tell(
            "note",
            text=f"{repeated:,} held-out conversations left out: nearly the same is learned from",
        )
    if config.model.memory == "messages":
        _note_long_messages(parts, config.model.longest_message, tell)
    if "train" not in parts:
        raise ElmanError(f"{data.path}: nothing is left to train on")
    dev = parts.get("dev")
    if dev is not None and not scored(dev.ids, data.learn_from).any():
        dev = None  # what it learns to say does not occur
    if dev is None:
        tell("note", text="too little to hold anything out: no validation and no early stop")
    chosen = {
        "bot": dataset.bot,
        "others": dataset.others,
        "known": dataset.known,
        "gap": dataset.gap,
        "drop": dataset.dropped,
    }
    return Data(
        tokenizer,
        parts["train"],
        None if dev is None else subset(dev, config.train.validation_tokens),
        config.model_copy(update={"data": config.data.model_copy(update=chosen)}),
        base,
    )


def _base(
    config: Config, texts: Iterable[str], text_bytes: int, tell: Tell, trust: Collection[str] = ()
) -> Bot | None:
    """The bot to start from: one that was asked for, or the base, unless its pieces are made for
    other text, or a new and smaller bot learns more in the same minutes.
    """
    asked = config.train.base
    if asked is None:
        return None
    base = load_bot("base" if asked == AUTO else asked, trust=trust)
    if asked == AUTO and (passes := passes_from(base, config, text_bytes)) < MIN_PASSES_FROM_BASE:
        tell(
            "note",
            text=f"a bot of the base's size would read only {passes:.0%} of the conversations in "
            "these minutes, and a smaller one learns more from them: so this bot starts from "
            "nothing; --base base starts from the base",
        )
        return None
    own, fresh = bytes_per_piece(base.tokenizer, texts)
    if own >= (FITS_LITTLE if text_bytes < TINY_DATA_BYTES else FITS) * fresh:
        return base
    what = (
        f"the base was made for other text than this: a piece of its vocabulary is {own:.2f} "
        f"bytes long here, of a new one {fresh:.2f}"
    )
    if asked != AUTO:
        tell("note", text=f"{what}; --base none may well learn more")
        return base
    tell("note", text=f"{what}; so this bot starts from nothing; --base base starts from the base")
    return None


def bytes_per_piece(tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[float, float]:
    """How long the pieces of a tokenizer are in some texts, and those of a new one as large.

    Both are measured on every third text; the new one learns from the others.
    """
    sample: list[str] = []
    size = 0
    for text in texts:
        sample.append(text)
        size += len(text.encode())
        if size > SAMPLE:
            break
    # Every second one would be what one speaker says, and the others what the other does.
    heard = sample[::3]
    learned = [text for place, text in enumerate(sample) if place % 3] or sample
    fresh = Tokenizer.train(learned, tokenizer.vocabulary_size)
    total = sum(len(text.encode()) for text in heard)
    own, new = (
        total / max(1, sum(map(len, each.encode_batch(heard)))) for each in (tokenizer, fresh)
    )
    return own, new


def _note_long_messages(parts: Mapping[str, Corpus], longest: int, tell: Tell) -> None:
    """Say how many messages the encoder does not read to their end."""
    lengths = [np.diff(np.flatnonzero(corpus.ids == END), prepend=-1) for corpus in parts.values()]
    if count := int((np.concatenate(lengths) > longest).sum()):
        tell(
            "note",
            text=f"{count:,} messages are longer than {longest:,} tokens: the encoder "
            "reads their beginning (model.longest_message); all of each is learned to be said",
        )
