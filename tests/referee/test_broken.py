"""Layers that are broken in one known way: each is caught, named rightly, and shown again."""

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from elman.referee import Fault, Verdict, check
from elman.referee.builds import load

HERE = Path(__file__).parent
SIZE_OF_A_FAULT, SIZE_OF_ROUNDING = 1e-4, 1e-7

# The broken layer, the right one that it derives from, the check, and what is said.
BROKEN = [
    (
        "DetachedAtTwelve",
        "Plain",
        "reach",
        "the gradient of x stops at step 12: the state is detac",
    ),
    ("DetachedEveryFive", "Plain", "reach", "is cut every 5 steps, first before step 5"),
    ("DetachedAlways", "Plain", "reach", "no gradient passes from a step to the one before"),
    ("Sliding", "Plain", "reach", "reaches 6 steps back and no further"),
    ("CutOff", "Plain", "reach", "the outputs have no gradient"),
    ("LastStepOnly", "Plain", "gradients", "that of u counts step 7 of 8 alone"),
    ("FirstStepLeftOut", "Plain", "gradients", "leaves out step 0 of 8"),
    ("ForwardOrder", "Plain", "gradients", "Jacobians in the order of the forward pass"),
    ("TwiceAsLarge", "Plain", "gradients", "x is wrong at every step: 2 times what it should be"),
    ("InputOverwritten", "Plain", "gradients", "gradient of w is wrong, and that of x is right"),
    (
        "BiasTwice",
        "Plain",
        "gradients",
        "of b is wrong, and that of x is right: that of b is 2 tim",
    ),
    ("LayersMixed", "Stacked", "gradients", "lower.u gets that of upper.u"),
    ("StateIgnored", "Plain", "plain loop", "from step 1 on, the first after a state was handed"),
    ("StateDetachedOnEntry", "Plain", "pieces", "no gradient passes from one call to the one befo"),
    ("StateDetachedOnReturn", "Plain", "pieces", "no gradient passes from one call to the one bef"),
    ("StateOneStepEarly", "Plain", "plain loop", "its outputs agree and its last state does not"),
    ("KeepsState", "Plain", "repeatable", "the layer keeps its state inside"),
    ("RowsMixed", "Plain", "rows", "depend on the other rows of its batch, from step 1 on"),
    ("LooksAhead", "Plain", "causality", "changes with the input of step 7 or later"),
    ("OneRowSqueezed", "Plain", "sizes", "for a batch of one row the outputs are (6, 4)"),
    ("InSingle", "Plain", "precision", "computes in less than float64"),
    ("Views", "Plain", "layout", "it raises for an input that is not contiguous"),
    ("WritesInput", "Plain", "arguments", "it writes into the input"),
    ("CountsItsCalls", "Plain", "checkpointing", "its forward pass does not give the same"),
    ("DropoutForgotten", "Stacked", "dropout", "does not use the dropout masks of the forward"),
    ("DropoutDrawnOnce", "Stacked", "dropout", "its masks are drawn once"),
    ("DropoutInEval", "Stacked", "repeatable", "random in eval mode"),
    ("NoDropout", "Stacked", "dropout", "dropout=0.5 does nothing in training"),
    ("ResetKeepsCell", "Resetting", "resets", "only a part of the state is forgotten"),
    ("ResetLate", "Resetting", "resets", "acts one step late, at step 6"),
    ("ResetOfAllRows", "Resetting", "resets", "a reset of one row changes the others"),
    ("ResetPassesGradient", "Resetting", "resets", "the gradient passes a reset"),
    ("PaddingRunsOn", "Ragged", "ragged", "padding has run on in it"),
    ("GatesInAnotherOrder", "Gated", "definition", "in the order i, f, o, g, torch's i, f, g, o"),
    ("BatchFirstDetached", "BatchFirst", "reach", "is cut every 5 steps"),
]


@pytest.fixture(autouse=True)
def _path() -> Iterator[None]:
    before = list(sys.path)
    yield
    sys.path[:] = before
    sys.modules.pop("broken", None)


def checked(name: str) -> Verdict:
    layer, source = load(f"{HERE / 'broken.py'}:{name}")
    return check(layer, source=source)


def shown(code: str) -> float:
    """Run a reproduction and return the number that it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "reproduction", "exec"), {"__name__": "reproduction"})
    return abs(float(printed.getvalue()))


@pytest.mark.parametrize(("name", "right", "where", "said"), BROKEN, ids=[b[0] for b in BROKEN])
def test_a_broken_layer_is_caught_named_and_shown(
    name: str, right: str, where: str, said: str
) -> None:
    verdict = checked(name)
    assert [fault.check for fault in verdict.faults] == [where], str(verdict)
    (fault,) = verdict.faults
    assert said in fault.words
    assert not verdict.right
    assert fault.words in str(verdict).replace("\n  ", "")
    assert shown(fault.reproduction) > SIZE_OF_A_FAULT, fault.reproduction
    assert shown(fault.reproduction.replace(name, right)) < SIZE_OF_ROUNDING, fault.reproduction
    assert fault.reproduction.count("\n") < 8


@pytest.mark.parametrize("name", sorted({right for _, right, _, _ in BROKEN}))
def test_the_layers_that_they_derive_from_are_right(name: str) -> None:
    verdict = checked(name)
    assert verdict.right, str(verdict)
    assert isinstance(str(verdict), str)
    assert not [fault for fault in verdict.faults if isinstance(fault, Fault)]
