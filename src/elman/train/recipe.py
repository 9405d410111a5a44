"""What to train where nobody says: from the size of the data, the minutes and the machine's speed.

What is known of these numbers is in docs/LOG.md. What was given is never changed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from elman.bptt.precision import product_rate
from elman.data.config import KEPT_REPLIES
from elman.data.expectation import human
from elman.data.tokenizer import SMALLEST
from elman.errors import ElmanError
from elman.model.checkpoint import Bot
from elman.model.config import LONGEST_NGRAM, ModelConfig
from elman.train.config import AUTO, UNFOLD, Config

VOCABULARY_BY_BYTES = {0: SMALLEST, 100_000: 1024, 300_000: 2048, 1_000_000: 4096}
"""Vocabulary, from so many bytes of text on: each piece must be seen often enough."""

SMALL_DATA_BYTES = 1_000_000
"""Bytes of text below which a small network, and from the base more dropout, are better."""

TINY_DATA_BYTES = 200_000

POINTER_TOKENS = 256
"""Tokens back from which a reply can copy: what somebody said is likely to be said again."""

MEDIUM_BUDGET_FLOP, LARGE_BUDGET_FLOP = 5e14, 3e15
"""Operations of a budget, from which on a larger network learns more, and a still larger one: 20
minutes and 2 hours of two cores at 430 GFLOP/s.
"""

CYCLE_PASSES, CYCLE_PASSES_FROM_BASE = 12.0, 8.0
"""Passes over the conversations from a high learning rate to a low one, in minutes."""

DROPOUT_BY_PASSES = {0.1: 4, 0.2: 12}
"""Of a bot that starts from nothing, by the passes from which on it is needed: what is read often
is learned by heart.
"""

ADDABLE_SETTINGS = {"dropout", "pointer", "ngrams"}
"""Of a bot that starts from another, what need not be the same."""

KEEPING_TIME_SHARE, MIN_KEPT_REPLIES, MEAN_MESSAGE_BYTES = 0.05, 1_000, 100
"""Of a budget in minutes, what reading the replies that are kept may take; how many are kept even
so; and bytes of a message. Each is read twice, forward: about as long as learning it once takes.
"""

MIN_PASSES_FROM_BASE = 0.4
"""Passes that a bot which starts from the base makes at least; where minutes allow it fewer, one
that starts from nothing is smaller, reads more, and ends ahead (LOG.md, four sets).
"""

MAX_TEXT_TIMES_READ, MIN_SELECTED_BYTES = 2.0, 1 << 24
"""Of more text than that many times what the minutes read, some is chosen; and bytes of it, at
least: so much is encoded in seconds.
"""

TRAINING_EFFICIENCY = 0.6
"""Of the rate of products, what a whole step of training reaches."""

Chosen = dict[str, dict[str, Any]]


def choose(config: Config, text_bytes: int, base: Bot | None = None) -> Config:
    """A configuration in which everything is filled in that decides how well it learns.

    Args:
        config: fields that were not given are chosen.
        text_bytes: of all conversations.
        base: the bot that it starts from; its sizes are not to be chosen.

    Raises:
        ElmanError: where a size was given that is not the base's.
    """
    if base is None:
        config = _with_limits(_filled(config, _from_scratch(config, text_bytes)), text_bytes)
        return config.model_copy(update={"train": config.train.model_copy(update={"base": None})})
    if config.train.base == AUTO:
        train = config.train.model_copy(update={"base": "base"})
        config = config.model_copy(update={"train": train})
    _check_sizes(config, base)
    chosen = _from_base(text_bytes, config.train.minutes is not None)
    pointer = base.config["model"].get("pointer", 0)
    if "pointer" not in config.model.model_fields_set and config.model.ngrams > pointer:
        raise ElmanError(
            f"model.ngrams {config.model.ngrams} needs a pointer over as many tokens, and "
            f"{base.path} has {pointer or 'none'}: add --pointer {POINTER_TOKENS}"
        )
    chosen["model"]["ngrams"] = _ngrams(config, pointer)
    return _with_limits(_filled(_with_sizes(config, base, chosen["model"]), chosen), text_bytes)


def _with_limits(config: Config, text_bytes: int) -> Config:
    """With so much text to learn from, and so many replies kept, as the minutes allow."""
    if config.train.minutes is None:
        return config
    read = _bytes_read(config, config.train.minutes)
    replies = min(
        max(MIN_KEPT_REPLIES, int(KEEPING_TIME_SHARE * read / MEAN_MESSAGE_BYTES)), KEPT_REPLIES
    )
    most = max(MIN_SELECTED_BYTES, int(MAX_TEXT_TIMES_READ * read))
    chosen: dict[str, Any] = {"replies": replies, "most_bytes": most if most < text_bytes else None}
    return _filled(config, {"data": chosen})


def _filled(config: Config, chosen: Chosen) -> Config:
    """The configuration with what was chosen in the place of what was not given."""
    sections = {}
    for name, values in chosen.items():
        section = getattr(config, name)
        free = {key: each for key, each in values.items() if key not in section.model_fields_set}
        sections[name] = section.model_copy(update=free)
    return config.model_copy(update=sections)


def _check_sizes(config: Config, base: Bot) -> None:
    saved = ModelConfig.model_validate(base.config["model"])
    for name in config.model.model_fields_set - ADDABLE_SETTINGS:
        given, own = getattr(config.model, name), getattr(saved, name)
        if given != own:
            raise ElmanError(
                f"model.{name} is {given}, and {own} in {base.path}, which it is to start from: "
                "leave it out, or start from nothing with --base none"
            )
    if "vocabulary" in config.data.model_fields_set:
        raise ElmanError(
            f"{base.path} has pieces of text of its own: leave out --vocabulary, or start from "
            "nothing with --base none"
        )


def _from_scratch(config: Config, text_bytes: int) -> Chosen:
    model: dict[str, Any] = {"pointer": POINTER_TOKENS, "ngrams": _ngrams(config, POINTER_TOKENS)}
    train: dict[str, Any] = {"most_epochs": None if config.train.minutes is None else CYCLE_PASSES}
    vocabulary = next(
        v for least, v in reversed(VOCABULARY_BY_BYTES.items()) if text_bytes >= least
    )
    if vocabulary > SMALLEST:
        model |= {"hidden_size": _size(config, text_bytes), "mlp": 1.0}
    elif config.unit == "steps":
        train |= {"unfold": 128, "lanes": 16}
    chosen = {"data": {"vocabulary": vocabulary}, "model": model, "train": train}
    passes = _passes(_filled(config, chosen), text_bytes)
    model["dropout"] = max(
        (rate for rate, least in DROPOUT_BY_PASSES.items() if passes >= least), default=0
    )
    return chosen


def _ngrams(config: Config, pointer: int) -> int:
    """As far as the pointer's record reaches, if it was not chosen here."""
    given = "pointer" in config.model.model_fields_set
    return min(LONGEST_NGRAM, config.model.pointer if given else pointer)


def _size(config: Config, text_bytes: int) -> int:
    if text_bytes < SMALL_DATA_BYTES:
        return 256
    if config.train.minutes is None:
        return 384
    operations = _operations(config, config.train.minutes)
    return (
        256 if operations < MEDIUM_BUDGET_FLOP else 512 if operations > LARGE_BUDGET_FLOP else 384
    )


def _from_base(text_bytes: int, in_minutes: bool) -> Chosen:
    """Of little text a low rate; few passes at a time: more are often only learned by heart.

    Who says how many epochs or steps gets them; minutes are a limit, not a wish for passes.
    """
    little = text_bytes < TINY_DATA_BYTES
    return {
        "model": {"dropout": 0.2 if text_bytes < SMALL_DATA_BYTES else 0.1},
        "train": {
            "lr": 5e-4 if little else 1e-3,
            "most_epochs": CYCLE_PASSES_FROM_BASE if in_minutes else None,
        },
    }


def passes_from(base: Bot, config: Config, text_bytes: int) -> float:
    """How often a run that starts from a base reads its conversations."""
    return _passes(_with_sizes(config, base), text_bytes)


def _with_sizes(config: Config, base: Bot, but: Mapping[str, Any] | None = None) -> Config:
    """With the sizes of a base, and in the place of some of these what was chosen."""
    sizes = ModelConfig.model_validate(base.config["model"]).model_dump() | dict(but or {})
    vocabulary = {"vocabulary": base.tokenizer.vocabulary_size}
    return _filled(config, {"model": sizes, "data": vocabulary})


def describe(config: Config, text_bytes: int, wished: bool = True) -> Iterator[str]:
    """What is about to be trained, and how often it will read the data.

    Args:
        config: in which nothing is left to choose.
        text_bytes: of all conversations.
        wished: whether it starts from nothing, if it does, because somebody said so.
    """
    model, train = config.model, config.train
    if train.base is None and text_bytes < TINY_DATA_BYTES:
        instead = "let it start from the base" if wished else "add conversations, if there are more"
        yield (
            f"{human(text_bytes)} teach no language to a bot that starts from nothing, which takes "
            f"{human(TINY_DATA_BYTES)} and more: {instead}"
        )
    start = "" if train.base is None else f", from {train.base}"
    sizes = f"{model.layers} x {model.cell.upper()} {model.hidden_size}"
    if model.pointer:
        sizes += f", copying from the last {model.pointer:,} tokens"
    if model.ngrams:
        sizes += f", counting up to {model.ngrams} in a row"
    budget = next(
        f"{value:g} {name.removesuffix('s') if value == 1 else name}"
        for name in ("minutes", "epochs", "steps")
        if (value := getattr(train, name)) is not None
    )
    line = f"{human(text_bytes)}, {budget}: {sizes}, {config.data.vocabulary:,} pieces{start}"
    if train.minutes is None:
        yield line
        return
    passes = _passes(config, text_bytes)
    most = train.most_epochs
    if most is not None and passes > most:
        yield f"{line}, in rounds of {most:g} passes, as long as what is held out gains by them"
    elif passes >= 1:
        yield f"{line}, about {passes:.0f} pass{'' if round(passes) == 1 else 'es'}"
    else:
        whole = train.minutes / passes
        yield (
            f"{line}, about {passes:.0%} of the conversations, drawn by seed; "
            f"{whole:.0f} minutes would read all of them once"
        )


def _passes(config: Config, text_bytes: int) -> float:
    """How often a run reads its conversations, as far as can be told before it starts."""
    train = config.train
    if train.epochs is not None:
        return train.epochs
    if train.minutes is not None:
        return _bytes_read(config, train.minutes) / max(1, text_bytes)
    # Over messages a step is as long as they are: as long as one over steps, by and large.
    steps = config.unfold if config.unit == "steps" else UNFOLD["steps"]
    assert train.steps is not None
    return train.steps * config.lanes * steps * _piece_bytes(config) / max(1, text_bytes)


def _piece_bytes(config: Config) -> float:
    return 1.0 if config.data.vocabulary <= 300 else 3.8


def _bytes_read(config: Config, minutes: float) -> float:
    """How many bytes of text a run reads on this machine, from the speed of its products."""
    model, vocabulary = config.model, config.data.vocabulary
    gates = {"lstm": 4, "gru": 3, "mingru": 1, "minlstm": 1.5}.get(model.cell, 1)
    layer = (2 * gates + 3 * model.mlp) * model.hidden_size**2
    weights = model.layers * layer + vocabulary * model.hidden_size
    tokens = TRAINING_EFFICIENCY * _operations(config, minutes) / (6 * weights)
    return tokens * _piece_bytes(config)


def _operations(config: Config, minutes: float) -> float:
    """How many operations this machine makes in products alone, in the precision of the run."""
    low = config.train.precision != "float32"
    return 60 * minutes * max(product_rate(torch.float32), low * product_rate(torch.bfloat16))
