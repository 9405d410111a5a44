"""How the referee is used: in Python, by the command, in a test; and what it cannot check."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import elman
from elman.errors import ElmanError
from elman.referee.builds import load
from elman.referee.limited import Asked, check_within

HERE = Path(__file__).parent
Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _path() -> Iterator[None]:
    before = list(sys.path)
    yield
    sys.path[:] = before
    sys.modules.pop("broken", None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NotRecurrent", "the layer is not recurrent: no output changes with the input of another"),
        ("LastOutputOnly", r"returned outputs of \(4, 4\) for an input of 5 steps and 4 rows"),
        ("ReturnsText", r"the layer returned a str: expected outputs \(T, B, H\)"),
        ("NeedsGPU", "the layer needs a GPU .*the referee runs on the CPU"),
        ("Raises", "cannot be called with an input of .*It raised KeyError: .*Say input_size"),
        ("TakesMuch", r"cannot be made by TakesMuch\(3, 4\) or TakesMuch\(\).*'config'"),
        ("NUMBER", "'int' object is not callable"),
    ],
)
def test_what_cannot_be_checked(name: str, said: str) -> None:
    layer, source = load(f"{HERE / 'broken.py'}:{name}")
    with pytest.raises(ElmanError, match=said):
        elman.check(layer, source=source)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("torch.nn", "'torch.nn' is no module:Layer: say, for example, torch.nn:LSTM"),
        ("no.such:Layer", "no.such cannot be imported (ModuleNotFoundError: No module named 'no')"),
        ("nothing.py:Layer", "nothing.py: no such file"),
        ("torch.nn:LSTN", "torch.nn has no 'LSTN'"),
    ],
)
def test_names_that_lead_nowhere(target: str, said: str) -> None:
    with pytest.raises(ElmanError) as caught:
        load(target)
    assert said in str(caught.value)


def test_a_layer_that_raises_in_one_check_is_wrong_and_the_line_is_named() -> None:
    layer, source = load(f"{HERE / 'broken.py'}:RaisesForLong")
    (fault,) = elman.check(layer, source=source).faults
    assert "it raises IndexError: position 10 is out of range (broken.py, line" in fault.words


def test_what_is_left_out_is_said() -> None:
    layer, source = load(f"{HERE / 'broken.py'}:TakesNoLayers")
    verdict = elman.check(layer, source=source)
    assert verdict.right
    assert verdict.left_out["TakesNoLayers(num_layers=3)"] == (
        "it raised NotImplementedError: one layer only"
    )
    layer, source = load(f"{HERE / 'broken.py'}:RefusesItsState")
    left_out = elman.check(layer, source=source).left_out
    assert left_out["pieces"].endswith("the state that it returns: it raised KeyError: 'h0'")


def test_the_layer_and_the_random_numbers_are_as_they_were() -> None:
    layer = nn.LSTM(3, 4, num_layers=2, dropout=0.5)
    before = {name: p.clone() for name, p in layer.named_parameters()}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    assert elman.check(layer).right
    assert torch.equal(torch.rand(3), expected)
    assert layer.training
    for name, p in layer.named_parameters():
        assert p.dtype == torch.float32
        assert p.grad is None
        assert torch.equal(p, before[name])


def test_a_layout_that_was_said_wrongly() -> None:
    with pytest.raises(ElmanError, match=r"said to take \(B, T, I\), and it takes \(T, B, I\)"):
        elman.check(nn.GRU(3, 4), batch_first=True)


def test_the_fixture_fails_with_the_report(elman_check: Run) -> None:
    elman_check(nn.GRUCell(3, 4))
    layer, _ = load(f"{HERE / 'broken.py'}:DetachedAlways")
    with pytest.raises(pytest.fail.Exception, match="the state is detached at every step"):
        elman_check(layer)


@pytest.mark.slow
def test_the_command(elman: Run) -> None:
    ran = elman("check", f"{HERE / 'broken.py'}:DetachedAtTwelve", "--time-limit", 300)
    assert ran.code == 1
    assert "1. reach: the gradient of x stops at step 12: the state is detached there" in ran.out
    assert "layer = DetachedAtTwelve(3, 4)" in ran.out
    ran = elman("check", "torch.nn:GRUCell", "--json", "--time-limit", 300)
    assert ran.code == 0
    assert json.loads(ran.out)["right"] is True
    ran = elman("check", f"{HERE / 'broken.py'}:NotRecurrent", "--time-limit", 300)
    assert ran.code == 2
    assert ran.err == (
        "elman: the layer is not recurrent: no output changes with the input of another step\n"
    )


@pytest.mark.slow
def test_a_process_that_ends(elman: Run) -> None:
    ran = elman("check", f"{HERE / 'broken.py'}:EndsTheProcess", "--time-limit", 300)
    assert ran.code == 2
    assert "ended with code 9; it was in: its first calls. It last printed: about to e" in ran.err


def test_a_layer_that_hangs(tmp_path: Path) -> None:
    hanging = tmp_path / "hanging.py"
    hanging.write_text("while True: pass\n")
    with pytest.raises(ElmanError, match=r"it did not come back within 1 s; it was in: being imp"):
        check_within(1, Asked(f"{hanging}:Layer"))
