"""Every number in docs/tour.md is computed again.

A line of a ```text block, and whatever stands in `backticks` with a " = " in it, is a chain

    name = expression = ... = number

whose parts must all agree: the names come from `tiny_step`, a number to 4 decimals must be its
rounding, and one with fewer must be exact. What stands between may use rounded numbers. In a
table each cell is the name at the top of its column, in the run at the left of its row. The lines
of a ```console block are what the command prints. No other number with a decimal point, and no
percentage, may stand in the text.
"""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from elman.lens.tiny import BETAS, SGD_LR, SYMBOLS, tiny_step

TOUR = (Path(__file__).parents[2] / "docs" / "tour.md").read_text("utf-8")

Run = Callable[..., Any]

RUNS = {
    "": ("rnn", 5),
    "unfold2": ("rnn", 2),
    "unfold1": ("rnn", 1),
    "gru": ("gru", 5),
    "lstm": ("lstm", 5),
}


def tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "tanh": torch.tanh,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "sum": torch.sum,
    "norm": torch.linalg.vector_norm,
    "softmax": lambda x: torch.softmax(x, 0),
    "column": lambda m, j: m[:, int(j) - 1],
    "row": lambda m, i: m[int(i) - 1],
}


@cache
def names(run: str) -> dict[str, Tensor]:
    """What can be named in the tour: steps count from 1, as on the page."""
    step = tiny_step(*RUNS[run])
    found: dict[str, Any] = dict(step.weights)
    for kind in ("gradient", "clipped", "sgd", "adam"):
        found |= {f"{kind}_{name}": value for name, value in getattr(step, kind).items()}
    for name in ("loss", "norm", "clipped_norm", "sgd_loss", "adam_loss"):
        found[name] = getattr(step, name)
    found |= {"scale": step.clipped_norm / step.norm, "lr": SGD_LR}
    found |= {"beta_1": BETAS[0], "beta_2": BETAS[1], "h_0": step.steps[0].before[0]}
    for rule in ("sgd", "adam"):
        moved = [(w - getattr(step, rule)[name]).flatten() for name, w in step.weights.items()]
        found[f"{rule}_length"] = torch.cat(moved).norm()
    for t, s in enumerate(step.steps, 1):
        for name in ("gx", "gh", "p", "loss", "direct", "indirect", "gradient", "dgx", "dgh"):
            found[f"{name}_{t}"] = getattr(s, name)
        found[f"next_{t}"] = torch.eye(len(SYMBOLS), dtype=torch.float64)[t]
        found |= {f"h_{t}": s.after[0], f"back_{t}": s.back[0]}
        if len(s.after) == 2:
            found |= {f"c_{t}": s.after[1], f"back_c_{t}": s.back[1]}
        found |= {f"share_{t}_{name}": value for name, value in s.shares.items()}
    return {name: tensor(value) for name, value in found.items()}


def value_of(expression: str, run: str = "") -> Tensor:
    return worth(ast.parse(expression.strip(), mode="eval").body, run)


def worth(node: ast.expr, run: str) -> Tensor:
    """What an expression is worth; there is nothing in it but numbers, lists, names and these."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return tensor(float(number))
        case ast.List(elts=parts):
            return torch.stack([worth(part, run) for part in parts])
        case ast.Name(id=name):
            return names(run)[name]
        case ast.Attribute(value=inner, attr="T"):
            return worth(inner, run).T
        case ast.Attribute(value=ast.Name(id=other), attr=name):
            return names(other)[name]
        case ast.Subscript(value=inner, slice=ast.Constant(value=int() as place)):
            assert place >= 1, "counted from 1"
            return worth(inner, run)[place - 1]
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -worth(inner, run)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = worth(left, run), worth(right, run)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.Div():
                    return a / b
                case ast.Pow():
                    return a**b
                case ast.MatMult():
                    return a @ b
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return FUNCTIONS[name](*(worth(argument, run) for argument in arguments))
    raise AssertionError(f"not understood: {ast.unparse(node)}")


def is_number(expression: str) -> bool:
    """Whether it is a number or a list of numbers, with nothing left to compute."""
    return re.fullmatch(r"-?[\d.]+|\[(-?[\d.]+(, )?)+\]", expression.strip()) is not None


def check_number(written: str, truth: Tensor) -> None:
    """Holds a number, or a list of them, to its truth as far as it is written out."""
    value = value_of(written)
    assert value.shape == truth.shape, f"{written}: a shape of {tuple(truth.shape)} was expected"
    literals = re.findall(r"\d+(?:\.(\d+))?", written)
    bounds = [0.5 * 10 ** -len(d) if len(d) >= 4 else 0.0 for d in literals]
    for one, right, bound in zip(value.flatten(), truth.flatten(), bounds, strict=True):
        assert abs(float(one - right)) <= bound + 1e-9, f"{written}: it is {right:.6f}"


def check_chain(chain: str) -> None:
    first, *others = re.split(r"\s=\s", chain.strip())
    assert others, f"{chain}: expected name = number"
    assert re.search("[a-z]", first), f"{chain}: begins with no name"
    assert is_number(others[-1]), f"{chain}: ends in no number"
    truth = value_of(first)
    for part in others:
        if is_number(part):
            check_number(part, truth)
        else:
            torch.testing.assert_close(value_of(part), truth, rtol=1e-3, atol=1e-3, msg=chain)


def blocks(kind: str) -> Iterator[str]:
    yield from re.findall(rf"^```{kind}\n(.*?)^```", TOUR, re.M | re.S)


PROSE = re.sub(r"^```.*?^```", "", TOUR, flags=re.M | re.S)
CHAINS = [
    chain
    for block in blocks("text")
    # A line that begins with = goes on with the one above.
    for chain in re.sub(r"\n\s+=", " =", block).splitlines()
    if chain.strip()
] + [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", PROSE) if " = " in code]
TABLES = re.findall(r"(?:^\|.*\|\n)+", PROSE, re.M)


@pytest.mark.parametrize("chain", CHAINS)
def test_every_chain_is_right(chain: str) -> None:
    check_chain(chain)


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_right(table: str) -> None:
    head, _, *rows = (
        [cell.strip().strip("`") for cell in line.strip("|\n").split("|")]
        for line in table.splitlines()
    )
    by_options = {
        f"--cell {cell}" + ("" if unfold == 5 else f" --unfold {unfold}"): run
        for run, (cell, unfold) in RUNS.items()
    }
    assert rows
    for options, *cells in rows:
        for name, cell in zip(head[1:], cells, strict=True):
            check_number(cell, value_of(name, by_options[options]))


def test_no_number_is_left_unchecked() -> None:
    rest = PROSE
    for table in TABLES:
        rest = rest.replace(table, "")
    rest = re.sub(r"`[^`]+ = [^`]+`", "", rest)
    assert re.findall(r".*\d\.\d.*|.*\d\s?%.*", rest) == []
    kinds = set(re.findall(r"^```(.*)\n", TOUR, re.M))
    assert kinds <= {"", "text", "console"}
    assert len(CHAINS) > 30
    assert TABLES


@pytest.mark.parametrize("block", list(blocks("console")))
def test_what_is_shown_is_what_is_printed(elman: Run, block: str) -> None:
    command, *shown = block.splitlines()
    assert command.startswith("$ elman ")
    ran = elman(*command.split()[2:])
    assert ran.code == 0
    printed = [line.rstrip() for line in ran.out.splitlines()]
    for part in "\n".join(shown).split("...\n"):
        lines = part.splitlines()
        assert any(printed[at : at + len(lines)] == lines for at in range(len(printed))), part


@pytest.mark.parametrize(
    "wrong",
    [
        "loss_1 = 2.2118",
        "loss_1 = 2.21",
        "h_1 = [0.9640, 0.5370]",
        "h_1 = tanh([1.0, 0.6, -0.5]) = [0.9640, 0.5370, -0.4621]",
        "loss_1",
        "2.0 = 2.0",
    ],
)
def test_a_wrong_number_would_be_noticed(wrong: str) -> None:
    with pytest.raises(AssertionError):
        check_chain(wrong)
