"""What a run is trained on: conversations read, held out and encoded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from elman.data.conversation import Conversation
from elman.data.corpus import Corpus, encode_parts
from elman.data.readers import read
from elman.data.source import Notes, documents
from elman.data.split import Survey
from elman.data.tokenizer import END, Tokenizer
from elman.errors import ElmanError
from elman.model.scoring import subset
from elman.train.config import Config
from elman.train.runlog import Tell


@dataclass(frozen=True)
class Data:
    """What is trained on. `dev` is None where there is too little to hold anything out."""

    tokenizer: Tokenizer
    train: Corpus
    dev: Corpus | None


def prepare(config: Config, tell: Tell, tokenizer: Tokenizer | None = None) -> Data:
    """Read and encode the conversations; with a new tokenizer, unless one is given."""
    data = config.data
    sources = documents(data.path, data.encoding)
    tell("stage", text=f"reading {data.path}")
    notes, survey = Notes(), Survey()
    for _ in survey.texts(read(sources, notes)):
        pass
    for line in notes.lines():
        tell("note", text=line)
    if data.bot is not None:
        survey.check_bot(data.bot)

    silent = 0

    def heard() -> Iterator[Conversation]:
        nonlocal silent
        silent = 0
        for conversation in read(sources):
            if data.bot is None or data.bot in conversation.authors:
                yield conversation
            else:
                silent += 1

    if tokenizer is None:
        tell("stage", text=f"learning {data.vocabulary:,} pieces of text")
        learned = (each for part, each in survey.divide(heard(), data.test) if part == "train")
        texts = (text for conversation in learned for _, text in conversation.runs())
        tokenizer = Tokenizer.train(texts, data.vocabulary)
    tell("stage", text="encoding")
    parts = encode_parts(survey.divide(heard(), data.test), tokenizer, data.bot)
    if silent:
        tell("note", text=f"{silent:,} conversations left out: {data.bot} says nothing in them")
    if config.model.memory == "messages":
        _note_long_messages(parts, config.model.longest_message, tell)
    if "train" not in parts:
        raise ElmanError(f"{data.path}: nothing is left to train on")
    dev = parts.get("dev")
    if dev is None:
        tell("note", text="too little to hold anything out: no validation and no early stop")
    return Data(tokenizer, parts["train"], dev and subset(dev, config.train.validation_tokens))


def _note_long_messages(parts: Mapping[str, Corpus], longest: int, tell: Tell) -> None:
    """Say how many messages the encoder does not read to their end."""
    lengths = [np.diff(np.flatnonzero(corpus.ids == END), prepend=-1) for corpus in parts.values()]
    if count := int((np.concatenate(lengths) > longest).sum()):
        tell(
            "note",
            text=f"{count:,} messages are longer than {longest:,} tokens: the encoder "
            "reads their beginning (model.longest_message); all of each is learned to be said",
        )
