"""The rules by which settings are chosen that nobody gave, from the size of the data, the budget
and the machine's speed.

All are pure. What is known of their numbers is in docs/LOG.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from elman.data.config import KEPT_REPLIES
from elman.data.tokenizer import MIN_VOCABULARY_SIZE
from elman.errors import ElmanError
from elman.model import step_unit
from elman.model.config import LONGEST_NGRAM, ModelConfig
from elman.train.config import AUTO, Config
from elman.train.machine import Machine

VOCABULARY_BY_BYTES = {0: MIN_VOCABULARY_SIZE, 100_000: 1024, 300_000: 2048, 1_000_000: 4096}
"""Vocabulary by the bytes of text that it takes: each token must be seen often enough."""

SMALL_DATA_BYTES = 1_000_000
"""Bytes of text below which a small network, and from a base more dropout, are better."""

TINY_DATA_BYTES = 200_000
"""Bytes of text below which no bot learns a language."""

POINTER_TOKENS = 256
"""Tokens back from which a reply can copy: what somebody said is likely to be said again."""

SMALL, MEDIUM, LARGE = HIDDEN_SIZES = (256, 384, 512)

MEDIUM_BUDGET_FLOP, LARGE_BUDGET_FLOP = 5e14, 3e15
"""Operations of a budget from which on the medium and the large network learn more: 20 minutes and
2 hours of two cores at 430 GFLOP/s.
"""

UNFOLD, BYTES_UNFOLD = {"steps": 64, "messages": 5}, 128
BATCH_SIZE = {"steps": 16, "messages": 8}

CYCLE_EPOCHS, CYCLE_EPOCHS_FROM_BASE = 12.0, 8.0
"""Passes over the conversations in one cycle of the learning rate, where the budget is minutes."""

DROPOUT_BY_PASSES = {0.1: 4, 0.2: 12}
"""Dropout of a bot that starts from nothing, and the passes from which on it is needed: what is
read often is learned by heart.
"""

ADDABLE_SETTINGS = {"dropout", "pointer", "ngrams"}
"""Settings of a model that may differ from those of the base that it starts from."""

LR_FROM_BASE, LR_FROM_BASE_OF_TINY_DATA = 1e-3, 2e-4
"""Highest learning rate of a bot that starts from a base. Tiny data are learned by heart at a
higher one: at 5e-4, 8 passes over 50 KB predict new talk worse than 4 do (LOG.md).
"""

DEFAULT_MINUTES = 10.0

KEEPING_TIME_SHARE, MIN_KEPT_REPLIES, MEAN_MESSAGE_BYTES = 0.05, 1_000, 100
"""The share of a budget in minutes that reading the kept replies may take, how many are kept even
so, and the bytes of a message. Each is read twice, forward: that takes about as long as learning it
once.
"""

MIN_PASSES_FROM_BASE = 0.4
"""Passes that a bot which starts from the base makes at least. Where minutes allow it fewer, one
that starts from nothing is smaller, reads more, and ends ahead (LOG.md, four sets).
"""

MIN_FIT, MIN_FIT_OF_TINY_DATA = 0.8, 0.5
"""A base is started from if its tokens are at least this share as long as those of a new
vocabulary.
"""

MAX_TEXT_TIMES_READ, MIN_SELECTED_BYTES = 2.0, 1 << 24
"""Where there is more text than so many times what the minutes read, some is selected: at least so
many bytes, which are encoded in seconds.
"""

TRAINING_EFFICIENCY = 0.6
"""The share of the rate of products that a whole step of training reaches."""


@dataclass(frozen=True)
class BaseFacts:
    """A bot that a run could start from, and how well its vocabulary fits the data.

    Args:
        name: as a configuration names it: base, languages, or a folder.
        path: its folder, for messages.
        model: its sizes and kinds.
        vocabulary_size: of its tokenizer.
        token_bytes: mean length of its tokens in the data's text.
        new_token_bytes: that of a new vocabulary as large.
    """

    name: str
    path: str
    model: ModelConfig
    vocabulary_size: int
    token_bytes: float
    new_token_bytes: float

    def fits(self, text_bytes: int) -> bool:
        """Tell whether its tokens are long enough for text of that size."""
        least = MIN_FIT_OF_TINY_DATA if text_bytes < TINY_DATA_BYTES else MIN_FIT
        return self.token_bytes >= least * self.new_token_bytes

    def too_small(self, text_bytes: int) -> bool:
        """Tell whether it is smaller than any bot that starts from nothing with so much text."""
        return text_bytes >= SMALL_DATA_BYTES and self.model.hidden_size < SMALL


def wanted_base(asked: Config) -> str | None:
    """Name the bot to start from: one that was given, "auto", or None for a start from nothing.

    Whoever gives a size or a kind starts from nothing: it would not be the base's.
    """
    if "base" in asked.train.model_fields_set:
        return asked.train.base
    sizes = asked.model.model_fields_set - ADDABLE_SETTINGS
    return None if sizes or "vocabulary" in asked.data.model_fields_set else AUTO


def filled(config: Config, **tables: Mapping[str, Any]) -> Config:
    """Fill in values where nothing was given: what is chosen first stays."""
    free = {
        table: {k: v for k, v in chosen.items() if k not in getattr(config, table).model_fields_set}
        for table, chosen in tables.items()
    }
    return config.changed(**free)


def check_sizes(config: Config, base: BaseFacts) -> None:
    """Raise ElmanError where a size was given that is not the base's."""
    for name in sorted(config.model.model_fields_set - ADDABLE_SETTINGS):
        given, own = getattr(config.model, name), getattr(base.model, name)
        if given != own:
            raise ElmanError(
                f"model.{name} is {given}, and {own} in {base.path}, which it is to start from: "
                "leave it out, or start from nothing with --base none"
            )
    given = config.data.vocabulary
    if "vocabulary" in config.data.model_fields_set and given != base.vocabulary_size:
        raise ElmanError(
            f"{base.path} has a vocabulary of its own, of {base.vocabulary_size:,}: leave out "
            "data.vocabulary, or start from nothing with --base none"
        )
    if "pointer" not in config.model.model_fields_set and config.model.ngrams > base.model.pointer:
        raise ElmanError(
            f"model.ngrams {config.model.ngrams} needs a pointer over as many tokens, and "
            f"{base.path} has {base.model.pointer or 'none'}: add --set "
            f"model.pointer={POINTER_TOKENS}"
        )


def vocabulary(text_bytes: int) -> int:
    """Choose the size of a new tokenizer."""
    return next(v for least, v in reversed(VOCABULARY_BY_BYTES.items()) if text_bytes >= least)


def from_scratch(config: Config, text_bytes: int, machine: Machine) -> Config:
    """Choose the sizes of a bot that starts from nothing."""
    pieces = vocabulary(text_bytes)
    in_minutes = config.train.minutes is not None
    model: dict[str, Any] = {"pointer": POINTER_TOKENS, "ngrams": ngrams(config, POINTER_TOKENS)}
    train: dict[str, Any] = {"cycle_epochs": CYCLE_EPOCHS if in_minutes else None}
    if pieces > MIN_VOCABULARY_SIZE:
        model |= {"hidden_size": hidden_size(config, text_bytes, machine), "mlp": 1.0}
    elif step_unit(config.model) == "tokens" and config.train.unit == "steps":
        train["unfold"] = BYTES_UNFOLD
    config = with_layout(filled(config, data={"vocabulary": pieces}, model=model, train=train))
    often = passes(config, text_bytes, machine)
    dropout = max((rate for rate, least in DROPOUT_BY_PASSES.items() if often >= least), default=0)
    return filled(config, model={"dropout": dropout})


def from_base(config: Config, base: BaseFacts, text_bytes: int) -> Config:
    """Take the sizes of a base, and choose how it goes on learning.

    Little text gets a low rate, and few passes at a time: more are often only learned by heart.
    Epochs or steps that are given are one cycle; minutes are a limit, and no wish for passes.
    """
    in_minutes = config.train.minutes is not None
    model: dict[str, Any] = {
        "dropout": 0.2 if text_bytes < SMALL_DATA_BYTES else 0.1,
        "ngrams": ngrams(config, base.model.pointer),
    }
    train = {
        "lr": LR_FROM_BASE_OF_TINY_DATA if text_bytes < TINY_DATA_BYTES else LR_FROM_BASE,
        "cycle_epochs": CYCLE_EPOCHS_FROM_BASE if in_minutes else None,
    }
    return with_layout(with_sizes(filled(config, model=model, train=train), base))


def with_sizes(config: Config, base: BaseFacts) -> Config:
    """Fill in the sizes of a base."""
    vocabulary = {"vocabulary": base.vocabulary_size}
    return filled(config, model=base.model.model_dump(), data=vocabulary)


def with_layout(config: Config) -> Config:
    """Fill in how conversations are laid out in a batch, once the memory is known."""
    unit = "messages" if step_unit(config.model) == "messages" else "steps"
    config = filled(config, train={"unit": unit})
    unit = config.train.unit
    return filled(config, train={"unfold": UNFOLD[unit], "batch_size": BATCH_SIZE[unit]})


def ngrams(config: Config, pointer: int) -> int:
    """Choose the longest counted sequence: no longer than the pointer's record."""
    given = "pointer" in config.model.model_fields_set
    return min(LONGEST_NGRAM, config.model.pointer if given else pointer)


def hidden_size(config: Config, text_bytes: int, machine: Machine) -> int:
    """Choose the size of each layer's state: more text and more operations, a larger one."""
    if text_bytes < SMALL_DATA_BYTES:
        return SMALL
    if config.train.minutes is None:
        return MEDIUM
    budget = machine.operations(config.train.minutes, config.train.precision)
    return SMALL if budget < MEDIUM_BUDGET_FLOP else LARGE if budget > LARGE_BUDGET_FLOP else MEDIUM


def with_limits(config: Config, text_bytes: int, machine: Machine) -> Config:
    """Limit the text that is learned from, and the replies that are kept, to what minutes allow."""
    if config.train.minutes is None:
        return config
    read = bytes_read(config, config.train.minutes, machine)
    replies = max(MIN_KEPT_REPLIES, int(KEEPING_TIME_SHARE * read / MEAN_MESSAGE_BYTES))
    most = max(MIN_SELECTED_BYTES, int(MAX_TEXT_TIMES_READ * read))
    limit = most if most < text_bytes else None
    return filled(config, data={"replies": min(replies, KEPT_REPLIES), "max_text_bytes": limit})


def passes(config: Config, text_bytes: int, machine: Machine) -> float:
    """Estimate how often a run reads its conversations."""
    train = config.train
    if train.epochs is not None:
        return train.epochs
    if config.data.invent:
        text_bytes *= 2
    if train.minutes is not None:
        return bytes_read(config, train.minutes, machine) / max(1, text_bytes)
    # Over messages a step is as long as they are: as long as one over steps, by and large.
    unfold = train.unfold if train.unit == "steps" else UNFOLD["steps"]
    assert train.steps is not None
    return (
        train.steps * train.batch_size * unfold * expected_token_bytes(config) / max(1, text_bytes)
    )


def passes_from_base(config: Config, base: BaseFacts, text_bytes: int, machine: Machine) -> float:
    """Estimate how often a run that starts from a base reads its conversations."""
    return passes(with_layout(with_sizes(config, base)), text_bytes, machine)


def expected_token_bytes(config: Config) -> float:
    """Estimate the mean length of a token of the configured vocabulary."""
    return 1.0 if config.data.vocabulary <= 300 else 3.8


def bytes_read(config: Config, minutes: float, machine: Machine) -> float:
    """Estimate the bytes of text that a run reads, from the speed of the machine's products."""
    model = config.model
    gates = {"lstm": 4, "gru": 3, "mingru": 1, "minlstm": 1.5}.get(model.cell, 1)
    layer = (2 * gates + 3 * model.mlp) * model.hidden_size**2
    weights = model.layers * layer + config.data.vocabulary * model.hidden_size
    operations = TRAINING_EFFICIENCY * machine.operations(minutes, config.train.precision)
    return operations / (6 * weights) * expected_token_bytes(config)
