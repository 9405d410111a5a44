"""From what was asked for to a run's whole plan: the one place where anything is chosen."""

from collections.abc import Iterator
from dataclasses import dataclass

from elman.bptt.precision import MIN_BFLOAT16_SPEEDUP
from elman.data.conversation import Others
from elman.data.expectation import human
from elman.train import choices
from elman.train.choices import MIN_PASSES_FROM_BASE, TINY_DATA_BYTES, BaseFacts, filled
from elman.train.config import AUTO, BUDGETS, Config
from elman.train.machine import Machine
from elman.train.optim import OPTIMIZERS


@dataclass(frozen=True)
class DataFacts:
    """What was counted of the conversations before anything is chosen.

    Args:
        text_bytes: of all conversations.
        bot: whose part is learned, as the conversations write the name; None: all are peers.
        others: how the bot sees the other people, as asked for or as the data suggests.
        known: people it meets by name.
        gap: seconds of silence that end a conversation; None: nothing is cut.
        dropped: who is left out, as it is kept in a configuration.
        selection: which conversations are learned from where some are selected, in words.
        base: the bot to start from, if one is wanted.
    """

    text_bytes: int
    bot: str | None
    others: Others
    known: tuple[str, ...]
    gap: float | None
    dropped: tuple[str, ...]
    selection: str
    base: BaseFacts | None


@dataclass(frozen=True)
class Plan:
    """All that decides what a run ends in.

    Args:
        config: with nothing left to choose; it is written to config.json.
        notes: what was chosen and why, in sentences.
    """

    config: Config
    notes: tuple[str, ...]


def resolve(asked: Config, data: DataFacts, machine: Machine) -> Plan:
    """Choose all that was not given; raise ElmanError where a size is not that of the base."""
    config = _with_people(asked, data)
    if not any(getattr(asked.train, name) is not None for name in BUDGETS):
        config = config.changed(train={"minutes": choices.DEFAULT_MINUTES})
    base, notes = _base(config, data, machine)
    if base is None:
        config = choices.from_scratch(config, data.text_bytes, machine)
    else:
        choices.check_sizes(config, base)
        config = choices.from_base(config, base, data.text_bytes)
    config = choices.with_limits(config, data.text_bytes, machine)
    config = filled(config, train={"lr": OPTIMIZERS[config.train.optimizer].lr})
    settled = {"base": None if base is None else base.name}
    if config.train.precision == AUTO:
        speed = machine.bfloat16_speed[config.model.hidden_size]
        settled["precision"] = "bfloat16" if speed >= MIN_BFLOAT16_SPEEDUP else "float32"
    # Made anew, so that it is checked as a whole, and all of it counts as given from now on.
    config = Config.make(config.changed(train=settled).model_dump())
    notes += describe(config, data.text_bytes, machine, wished=choices.wanted_base(asked) is None)
    if (most := config.data.max_text_bytes) is not None and most < data.text_bytes:
        size = f"{human(most)} of {human(data.text_bytes)}"
        notes.append(f"learned from are {size}, {data.selection} (data.max_text_bytes)")
    if asked.train.precision != "float32":
        speed = machine.bfloat16_speed[config.model.hidden_size]
        note = f"{config.train.precision}: bfloat16 is {speed:.2f} times as fast here"
        if asked.train.precision == AUTO:
            notes.append(note)
        elif speed < MIN_BFLOAT16_SPEEDUP:
            notes.append(f"{note}; train.precision=auto would take float32")
    if machine.slow_loops:
        notes.append(f"the time loops run in Python, slower: {machine.slow_loops}")
    return Plan(config, tuple(notes))


def _with_people(asked: Config, data: DataFacts) -> Config:
    """Call people as the conversations call them, and choose whose messages are learned."""
    called = {"bot": data.bot, "others": data.others, "known": data.known, "gap": data.gap}
    config = asked.changed(data={**called, "drop": data.dropped})
    return filled(config, data={"learn_from": "all" if data.bot is None else "bot"})


def _base(config: Config, data: DataFacts, machine: Machine) -> tuple[BaseFacts | None, list[str]]:
    """Choose the bot to start from, and say why: one that was asked for, or one that comes with
    Elman, unless its tokens were made for other text, or a bot of another size learns more.
    """
    asked, base = choices.wanted_base(config), data.base
    if asked is None:
        return None, []
    assert base is not None, "a base was wanted, and nothing is known of it"
    instead = f"so this bot starts from nothing; --base {base.name} starts from the base"
    often = choices.passes_from_base(config, base, data.text_bytes, machine)
    if asked == AUTO and often < MIN_PASSES_FROM_BASE:
        why = (
            f"a bot of the size of {base.name} would read only {often:.0%} of the conversations in "
            "these minutes, and a smaller one learns more from them"
        )
        return None, [f"{why}; {instead}"]
    if asked == AUTO and base.too_small(data.text_bytes):
        return None, [f"{base.name} is too small for this much text, {instead} all the same"]
    if base.fits(data.text_bytes):
        return base, []
    what = (
        f"{base.name} was made for other text than this: a token of its vocabulary is "
        f"{base.token_bytes:.2f} bytes long here, of a new one {base.new_token_bytes:.2f}"
    )
    if asked != AUTO:
        return base, [f"{what}; --base none may well learn more"]
    return None, [f"{what}; {instead}"]


def describe(config: Config, text_bytes: int, machine: Machine, *, wished: bool) -> Iterator[str]:
    """Say what is about to be trained, and how often it will read the data.

    Args:
        config: with nothing left to choose.
        text_bytes: of all conversations.
        machine: what was measured of the computer.
        wished: whether a bot that starts from nothing does so because somebody said so.
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
        for name in BUDGETS
        if (value := getattr(train, name)) is not None
    )
    vocabulary = f"a vocabulary of {config.data.vocabulary:,}"
    line = f"{human(text_bytes)}, {budget}: {sizes}, {vocabulary}{start}"
    if train.minutes is None:
        yield line
        return
    often = choices.passes(config, text_bytes, machine)
    most = train.cycle_epochs
    if most is not None and often > most:
        yield f"{line}, in cycles of {most:g} passes, as long as what is held out gains by them"
    elif often >= 1:
        yield f"{line}, about {often:.0f} pass{'' if round(often) == 1 else 'es'}"
    else:
        yield (
            f"{line}, about {often:.0%} of the conversations, drawn by seed; "
            f"{train.minutes / often:.0f} minutes would read all of them once"
        )
