"""What a run is trained on: conversations read, held out and encoded."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from elman.data.corpus import Corpus, scored
from elman.data.dataset import Dataset
from elman.data.expectation import basis, hope
from elman.data.source import BUILT_IN
from elman.data.tokenizer import END, Tokenizer
from elman.errors import ElmanError
from elman.model.scoring import subset
from elman.train.config import Config, DataConfig
from elman.train.runlog import Tell


@dataclass(frozen=True)
class Data:
    """What is trained on. `dev` is None where there is too little to hold anything out."""

    tokenizer: Tokenizer
    train: Corpus
    dev: Corpus | None
    config: DataConfig
    """With everything filled in that was chosen from the conversations."""


def prepare(config: Config, tell: Tell, tokenizer: Tokenizer | None = None) -> Data:
    """Read and encode the conversations; with a new tokenizer, unless one is given."""
    data = config.data
    tell("stage", text=f"reading {data.path}")
    dataset = Dataset(data.path, data.encoding, bot=data.bot, **data.view())
    for line in dataset.notes.lines():
        tell("note", text=line)
    survey = dataset.survey
    if dataset.bot is not None:
        size = survey.text_bytes_of[dataset.bot]
        tell("note", text=hope(dataset.bot, survey.people[dataset.bot], size))
    if data.path != BUILT_IN:  # of which it is known
        tell("note", text=basis(survey.text_bytes))
    if tokenizer is None:
        tell("stage", text=f"learning {data.vocabulary:,} pieces of text")
        learned = (each for part, each in dataset.parts(data.test) if part == "train")
        texts = (turn.text for each in learned for turn in each.turns(dataset.bot, dataset.others))
        tokenizer = Tokenizer.train(texts, data.vocabulary)
    tell("stage", text="encoding")
    parts, repeated = dataset.encode(tokenizer, data.test)
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
        data.model_copy(update=chosen),
    )


def _note_long_messages(parts: Mapping[str, Corpus], longest: int, tell: Tell) -> None:
    """Say how many messages the encoder does not read to their end."""
    lengths = [np.diff(np.flatnonzero(corpus.ids == END), prepend=-1) for corpus in parts.values()]
    if count := int((np.concatenate(lengths) > longest).sum()):
        tell(
            "note",
            text=f"{count:,} messages are longer than {longest:,} tokens: the encoder "
            "reads their beginning (model.longest_message); all of each is learned to be said",
        )
