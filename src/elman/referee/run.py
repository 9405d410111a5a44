"""The checks in their order, and what each needs to have been right before it."""

import copy
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from elman.errors import ElmanError
from elman.referee.builds import Build, builds_of
from elman.referee.checks import (
    definition,
    forward,
    gradients,
    initial_state,
    layout,
    masks,
    reach,
    training,
)
from elman.referee.report import Fault, NotChecked, Verdict, in_one_line
from elman.referee.subject import LayerCall, Subject, plain_call, subject_of


@dataclass(frozen=True)
class RefereeCheck:
    """One check.

    Args:
        name: as the report calls it.
        run: gives the faults of a layer.
        after: checks without whose agreement this one would say the same again, or nothing.
        needs_gradient: whether it is about gradients alone.
    """

    name: str
    run: Callable[[Subject], list[Fault]]
    after: tuple[str, ...] = ()
    needs_gradient: bool = False


OWN_FOLDER = str(Path(__file__).parent)
BACKWARD = ("repeatable", "sizes", "reach", "gradients")

CHECKS = (
    RefereeCheck("arguments", layout.arguments),
    RefereeCheck("repeatable", forward.repeatable, ("arguments",)),
    RefereeCheck("precision", layout.precision, ("repeatable",)),
    RefereeCheck("sizes", forward.sizes, ("repeatable",)),
    RefereeCheck("rows", forward.rows, ("repeatable", "sizes")),
    RefereeCheck("causality", forward.causality, ("repeatable", "sizes")),
    RefereeCheck("plain loop", forward.plain_loop, ("repeatable", "sizes", "causality")),
    RefereeCheck("pieces", forward.pieces, ("repeatable", "sizes", "causality", "plain loop")),
    RefereeCheck("layout", layout.memory_layout, ("repeatable",)),
    RefereeCheck("float32", layout.float32, ("repeatable", "precision")),
    RefereeCheck("reach", reach.reach, ("repeatable",), needs_gradient=True),
    RefereeCheck("gradients", gradients.gradients, ("repeatable", "reach"), needs_gradient=True),
    RefereeCheck("definition", definition.definition, BACKWARD),
    RefereeCheck(
        "initial state",
        initial_state.initial_state,
        (*BACKWARD, "plain loop", "pieces"),
        needs_gradient=True,
    ),
    RefereeCheck("resets", masks.resets, ("repeatable", "sizes", "rows", "causality")),
    RefereeCheck("ragged", masks.ragged, ("repeatable", "sizes", "rows")),
    RefereeCheck("dropout", training.dropout, BACKWARD, needs_gradient=True),
    RefereeCheck(
        "checkpointing", training.checkpointing, ("repeatable", "reach"), needs_gradient=True
    ),
)


def check(
    layer: Any,
    *,
    call: LayerCall = plain_call,
    input_size: int | None = None,
    batch_first: bool | None = None,
    window: int | None = None,
    reach: int | None = None,
    source: Sequence[str] = (),
    tell: Callable[[str], None] = lambda name: None,
) -> Verdict:
    """Hold a recurrent layer to the definition of its forward pass and its gradient.

    It is copied, and checked in float64 on the CPU, on short random sequences.

    Args:
        layer: a module, a function `f(x, state)`, an Elman `Cell`, or a class of modules; of a
            class several are made: plain, and with what its constructor takes (layers, dropout,
            batch_first).
        call: `call(layer, x)` and `call(layer, x, state)`, returning outputs, or outputs and a
            state, for a layer that is called in another way.
        input_size: I; else it is found.
        batch_first: whether x is (B, T, I); else it is found.
        window: the gradient is meant to be cut before every so many steps.
        reach: the gradient of each output is meant to reach so many steps and no further.
        source: lines of Python that make `layer`, for the reproductions.
        tell: is told the name of each check before it runs.

    Raises:
        ElmanError: where it is not a recurrent layer, or cannot be called.
    """
    verdict = Verdict()
    state = torch.get_rng_state()
    try:
        for build in builds_of(layer, source):
            if build.failed:
                verdict.left_out[build.name] = f"it raised {build.failed}"
                continue
            made = _prepared(build)
            subject = subject_of(
                made.layer, made.source, call, input_size, batch_first, window, reach
            )
            verdict.add(_checked(subject, made.name, tell))
    finally:
        torch.set_rng_state(state)
    return verdict


def _prepared(build: Build) -> Build:
    """Copy a module to the CPU, in float64 and eval mode."""
    if not isinstance(build.layer, nn.Module):
        return build
    try:
        layer = copy.deepcopy(build.layer)
    except Exception as error:  # whatever a stranger's code raises
        raise ElmanError(f"the layer cannot be copied: {in_one_line(error)}") from error
    return replace(build, layer=layer.cpu().double().eval())


def _checked(subject: Subject, name: str, tell: Callable[[str], None]) -> Verdict:
    verdict = Verdict()
    not_right: set[str] = set()
    for one in CHECKS:
        if first := [needed for needed in one.after if needed in not_right]:
            verdict.left_out[one.name] = f"{first[0]} is to be right first"
            not_right.add(one.name)
            continue
        if one.needs_gradient and subject.of_arrays and not subject.layer.backward_of:
            verdict.left_out[one.name] = "the function was given without its backward pass"
            continue
        tell(f"{one.name} of {name}" if name else one.name)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                faults = one.run(subject)
        except NotChecked as why:
            verdict.left_out[one.name] = str(why)
            continue
        except Exception as error:  # whatever a stranger's code raises
            faults = [_raised(subject, one.name, error)]
            if faults[0].words in {fault.words for fault in verdict.faults}:
                verdict.left_out[one.name] = "it raises, as said"
                continue
        not_right |= {one.name} if faults else set()
        verdict.faults += [replace(fault, build=name) for fault in faults]
        verdict.passed += [] if faults else [one.name]
    return verdict


def _raised(subject: Subject, name: str, error: Exception) -> Fault:
    """Make the fault that a check could not be done, for the layer raised."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(OWN_FOLDER)]
    at = f" ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else ""
    words = f"it raises {in_one_line(error)[:200]}{at}"
    lines = (
        "from elman.referee import check; faults = check(layer).faults",
        "print(float(any('it raises' in fault.words for fault in faults)))",
    )
    return Fault(name, words, 1.0, subject.reproduction(*lines))
