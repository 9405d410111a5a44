"""What a run is trained on: conversations read, surveyed, held out and encoded."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

import numpy as np

from elman.data.canaries import Canary
from elman.data.corpus import Corpus, scored
from elman.data.dataset import Dataset
from elman.data.expectation import basis, hope
from elman.data.invent import Inventor
from elman.data.shards.index import is_built
from elman.data.source import BUILT_IN
from elman.data.tokenizer import END, MAX_LEARNED_BYTES, Tokenizer
from elman.errors import ElmanError
from elman.generate.network import NetworkBot, load_network_bot
from elman.generate.scoring import subset
from elman.model import MEMORIES
from elman.model.config import ModelConfig
from elman.model.folder import BUILT_IN_BOTS, read_tokenizer
from elman.train.built import facts, open_built
from elman.train.canaries import learned_canaries
from elman.train.choices import HIDDEN_SIZES, BaseFacts, wanted_base
from elman.train.config import AUTO, Config
from elman.train.machine import Machine, measure_machine
from elman.train.plan import DataFacts, resolve
from elman.train.runlog import Tell

MIN_HELD_OUT_BYTES, MAX_TOKEN_BYTES = 1 << 20, 16
"""Bytes of each held-out part that are looked at, at least; and of a token, at most."""

MAX_INVENTED_CONVERSATIONS = 20_000
"""Conversations that are learned once more with invented words, at most: bounds memory."""

SAMPLE_BYTES = 1 << 20
"""Bytes of text on which vocabularies are compared."""


@dataclass(frozen=True)
class Data:
    """What is trained on.

    Args:
        tokenizer: what it is encoded with.
        train: conversations as they were, which are learned.
        invented: the same with invented words, which are learned beside them; or None.
        dev: what is held out to validate on; None where there is too little.
        config: of the run, with nothing left to choose.
        base: the bot to start from, if any; None too where a run goes on.
        canaries: secrets that were planted in what is learned.
    """

    tokenizer: Tokenizer
    train: Corpus
    dev: Corpus | None
    config: Config
    base: NetworkBot | None = None
    canaries: tuple[Canary, ...] = ()
    invented: Corpus | None = None

    @cached_property
    def learned(self) -> Corpus:
        """Everything that is learned."""
        return self.train if self.invented is None else Corpus.joined(self.train, self.invented)


def prepare(
    asked: Config,
    tell: Tell,
    trust: Collection[str] = (),
    chosen: Callable[[Config, Tokenizer], object] = lambda config, tokenizer: None,
) -> Data:
    """Read the conversations, choose what was not given, and encode them.

    Args:
        asked: what was given.
        tell: told what is found and chosen.
        trust: cells from outside Elman that the bot to start from may name.
        chosen: told of the configuration and the tokenizer, before anything is encoded.
    """
    if is_built(asked.data.path):
        return _prepare_built(asked, tell, trust, chosen)
    dataset = _read(asked, tell)
    name = wanted_base(asked)
    if name == AUTO:
        name = likeliest_base(dataset.texts(asked.data.test))
    base = None if name is None else load_network_bot(name, trust=trust)
    counted = DataFacts(
        text_bytes=dataset.survey.text_bytes,
        bot=dataset.bot,
        others=dataset.others,
        known=dataset.known,
        gap=dataset.gap,
        dropped=dataset.dropped,
        selection=dataset.survey.chosen,
        base=None if base is None else _base_facts(str(name), base, dataset, asked.data.test),
    )
    plan = resolve(asked, counted, _machine(asked, base))
    for text in plan.notes:
        tell.note(text)
    data = plan.config.data
    dataset = dataset.limited(data.max_text_bytes)
    if data.max_text_bytes is not None and data.max_text_bytes < dataset.survey.text_bytes:
        dataset = dataset.gathered(data.test, _held_out_bytes(plan.config))
    if base is not None and plan.config.train.base is not None:
        tokenizer = base.tokenizer
    else:
        base = None
        tell("stage", text=f"learning a vocabulary of {data.vocabulary:,}")
        tokenizer = Tokenizer.train(dataset.texts(data.test, MAX_LEARNED_BYTES), data.vocabulary)
    chosen(plan.config, tokenizer)
    return _encode(plan.config, dataset, tokenizer, tell, base)


def _prepare_built(
    asked: Config,
    tell: Tell,
    trust: Collection[str],
    chosen: Callable[[Config, Tokenizer], object],
) -> Data:
    index, tokenizer, parts = open_built(asked, tell)
    asked, counted, base = facts(asked, index, tokenizer, tell, trust)
    plan = resolve(asked, counted, _machine(asked, base))
    for text in plan.notes:
        tell.note(text)
    base = None if plan.config.train.base is None else base
    chosen(plan.config, tokenizer)
    return _data(plan.config, parts, tokenizer, tell, base)


def prepare_again(config: Config, tokenizer: Tokenizer, tell: Tell) -> Data:
    """Read and encode the conversations of a run that goes on."""
    if is_built(config.data.path):
        _, own, parts = open_built(config, tell)
        if own.digest != tokenizer.digest:
            raise ElmanError(f"{config.data.path}: another tokenizer made it than the bot has")
        return _data(config, parts, tokenizer, tell)
    return _encode(config, _read(config, tell), tokenizer, tell)


def _read(config: Config, tell: Tell) -> Dataset:
    data = config.data
    tell("stage", text=f"reading {data.path}")
    dataset = Dataset.read(data.path, data.encoding, bot=data.bot, keep=True, **data.view())
    for line in dataset.notes.lines():
        tell.note(line)
    survey = dataset.survey
    if dataset.bot is not None:
        size = survey.text_bytes_of[dataset.bot]
        tell.note(hope(dataset.bot, survey.people[dataset.bot], size))
    if data.path != BUILT_IN:  # of which it is known
        tell.note(basis(survey.text_bytes))
    return dataset


def _base_facts(name: str, base: NetworkBot, dataset: Dataset, test: bool) -> BaseFacts:
    own, new = measure_token_bytes(base.tokenizer, dataset.texts(test))
    return BaseFacts(
        name=name,
        path=str(base.path),
        model=ModelConfig.model_validate(base.config["model"]),
        vocabulary_size=base.tokenizer.vocabulary_size,
        token_bytes=own,
        new_token_bytes=new,
    )


def _machine(asked: Config, base: NetworkBot | None) -> Machine:
    """Measure this computer, for every size that the network could have."""
    if asked.train.precision == "float32":
        return measure_machine(())
    if "hidden_size" in asked.model.model_fields_set:
        return measure_machine((asked.model.hidden_size,))
    own = () if base is None else (base.config["model"]["hidden_size"],)
    return measure_machine((*HIDDEN_SIZES, *own))


def _held_out_bytes(config: Config) -> int:
    return max(MIN_HELD_OUT_BYTES, MAX_TOKEN_BYTES * config.train.validation_tokens)


def _encode(
    config: Config,
    dataset: Dataset,
    tokenizer: Tokenizer,
    tell: Tell,
    base: NetworkBot | None = None,
) -> Data:
    data = config.data
    tell("stage", text="encoding")
    parts, repeated = dataset.encode(tokenizer, data.test, _held_out_bytes(config))
    if repeated:
        tell.note(f"{repeated:,} held-out conversations left out: nearly the same is learned from")
    found = _data(config, parts, tokenizer, tell, base)
    canaries = learned_canaries(dataset, found.train, tokenizer, data)
    invented = None
    if data.invent:
        invented = _invented(dataset, tokenizer, data.test)
        count = 0 if invented is None else len(invented)
        tell.note(f"{count:,} conversations are learned once more with invented words")
    return replace(found, canaries=canaries, invented=invented)


def _data(
    config: Config,
    parts: Mapping[str, Corpus],
    tokenizer: Tokenizer,
    tell: Tell,
    base: NetworkBot | None = None,
) -> Data:
    """Put together what is learned, and of what is held out as much as is scored."""
    data = config.data
    longest = MEMORIES[config.model.memory].longest_learned(config.model)
    if longest is not None:
        _note_long_messages(parts, longest, tell)
    if "train" not in parts:
        raise ElmanError(f"{data.path}: nothing is left to train on")
    dev = parts.get("dev")
    if dev is not None and not scored(dev.ids, data.learn_from).any():
        dev = None  # what it learns to say does not occur
    if dev is None:
        tell.note("too little to hold anything out: no validation and no early stop")
    else:
        dev = subset(dev, config.train.validation_tokens)
    return Data(tokenizer, parts["train"], dev, config, base)


def _invented(dataset: Dataset, tokenizer: Tokenizer, test: bool) -> Corpus | None:
    """Encode what is learned once more, with invented words; None where nothing is repeated."""
    every = (each for part, each in dataset.parts(test) if part == "train")
    learned = list(islice(every, MAX_INVENTED_CONVERSATIONS))
    inventor = Inventor.of(learned, dataset.bot)
    found = Corpus.encode(inventor.invented(learned), tokenizer, dataset.bot, dataset.others)
    return found if len(found) else None


def likeliest_base(texts: Iterable[str]) -> str:
    """Name the bot that comes with Elman whose tokens are the longest in some texts."""
    sample = list(_sampled(texts))

    def tokens(name: str) -> int:
        return sum(map(len, read_tokenizer(BUILT_IN_BOTS[name]).encode_batch(sample)))

    return min(BUILT_IN_BOTS, key=tokens)


def _sampled(texts: Iterable[str]) -> Iterator[str]:
    """Take some texts, up to `SAMPLE_BYTES`."""
    size = 0
    for text in texts:
        yield text
        size += len(text.encode())
        if size > SAMPLE_BYTES:
            return


def measure_token_bytes(tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[float, float]:
    """Measure how long a tokenizer's tokens are in some texts, and those of a new one as large.

    Both are measured on every third text; the new one learns from the others.

    Returns:
        Mean bytes of a token: the tokenizer's own, and the new one's.
    """
    sample = list(_sampled(texts))
    # Every second one would be what one speaker says, and the others what the other does.
    heard = sample[::3]
    learned = [text for place, text in enumerate(sample) if place % 3] or sample
    new = Tokenizer.train(learned, tokenizer.vocabulary_size)
    total = sum(len(text.encode()) for text in heard)
    own, other = (
        total / max(1, sum(map(len, each.encode_batch(heard)))) for each in (tokenizer, new)
    )
    return own, other


def _note_long_messages(parts: Mapping[str, Corpus], longest: int, tell: Tell) -> None:
    """Say how many messages the encoder does not read to their end."""
    blocks = (block for corpus in parts.values() for block in corpus.blocks())
    lengths = (np.diff(np.flatnonzero(block == END), prepend=-1) for block in blocks)
    if count := sum(int((each > longest).sum()) for each in lengths):
        tell.note(
            f"{count:,} messages are longer than {longest:,} tokens: the encoder reads their "
            "beginning (model.max_message_tokens); all of each is learned to be said"
        )
