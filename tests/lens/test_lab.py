"""The arithmetic of the tiny page's laboratory, run as JavaScript, is held to torch's autograd."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page
from torch import Tensor, nn

from elman.lens.html import beside
from elman.lens.lab import MAX_MESSAGES, example_weights, start_weights
from elman.lens.tiny import ADAM_LR, MESSAGES, SGD_LR, TINY_CELLS, TINY_HIDDEN_SIZE, tiny_step

LAYERS = {"rnn": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}
SOURCE = "\n".join(map(beside, ("page_draw.js", "lab_cells.js", "lab_learning.js")))
RUN = f"""(given) => {{{SOURCE}
  const [weights, settings, updates] = given;
  let net = newNet(weights);
  const losses = [], first = lookAt(net, settings);
  for (let n = 0; n < updates; n++) {{
    losses.push(lookAt(net, settings).loss);
    net = learn(net, settings);
  }}
  return {{ first, losses, weights: net.weights }};
}}"""
IDS, TARGETS = [0, 1, 2, 0, 3, 1, 4], [1, 2, 0, 3, 1, 4, 5]  # what is said again has its symbol


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    with browser.new_context() as context:
        yield context.new_page()


def settings(cell: str, **changes: Any) -> dict[str, Any]:
    plain = {
        "cell": cell, "unfold": 7, "windows": "apart", "losses": "all", "clip": 1,
        "optimizer": "sgd", "lr": 0.1, "ids": IDS, "targets": TARGETS, "resets": [False] * 7,
    }  # fmt: skip
    return plain | changes


def weights_of(cell: str, seed: int, symbols: int = 6) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    rows = TINY_CELLS[cell].gates * TINY_HIDDEN_SIZE
    shapes = {
        "weight_ih": (rows, symbols), "weight_hh": (rows, 3), "bias_ih": (rows,),
        "bias_hh": (rows,), "weight_out": (symbols, 3), "bias_out": (symbols,),
    }  # fmt: skip
    return {
        name: torch.randn(shape, generator=draw, dtype=torch.float64)
        for name, shape in shapes.items()
    }


@dataclass
class Seen:
    """What torch makes of one step of learning."""

    losses: list[float]
    direct: Tensor
    indirect: Tensor
    lost: Tensor
    gradient: dict[str, Tensor]
    walked: int = field(default=0)


def torch_sees(weights: dict[str, Tensor], how: dict[str, Any]) -> Seen:
    """Differentiate each loss apart, within its window, by autograd through torch's own cell."""
    params = {name: w.clone().requires_grad_() for name, w in weights.items()}
    layer = LAYERS[how["cell"]](weights["weight_ih"].shape[1], 3, dtype=torch.float64)
    states = TINY_CELLS[how["cell"]].states
    inputs = torch.eye(weights["weight_ih"].shape[1], dtype=torch.float64)
    last = len(how["ids"]) - 1
    nothing = [torch.zeros(3, dtype=torch.float64)] * states
    own = {name: params[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}

    def step(t: int, state: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        before = nothing if how["resets"][t] else state
        given = (before[0], before[1]) if states == 2 else before[0]
        made = torch.func.functional_call(layer, own, (inputs[how["ids"][t]], given))
        after = list(made) if states == 2 else [made]
        logits = params["weight_out"] @ after[0] + params["bias_out"]
        # c is passed on as a copy, whose gradient is only what comes back along c.
        return [after[0], *(c.clone() for c in after[1:])], nn.functional.cross_entropy(
            logits, torch.tensor(how["targets"][t])
        )

    befores, losses, state = [], [], nothing
    for t in range(last + 1):
        befores.append([part.detach() for part in state])
        state, loss = step(t, state)
        losses.append(loss.item())
    counted = range(last + 1) if how["losses"] == "all" else [last]
    if how["windows"] == "sliding":
        windows = [(max(0, t - how["unfold"] + 1), t, [t]) for t in counted]
    else:
        windows = []
        for start in range(0, last + 1, how["unfold"]):
            end = min(last, start + how["unfold"] - 1)
            windows.append((start, end, [t for t in counted if start <= t <= end]))
    seen = Seen(
        losses,
        torch.zeros(last + 1, 3, dtype=torch.float64),
        torch.zeros(last + 1, states, 3, dtype=torch.float64),
        torch.zeros(last + 1, states, 3, dtype=torch.float64),
        {name: torch.zeros_like(w) for name, w in weights.items()},
    )
    for start, end, own_losses in windows:
        first = state = [part.clone().requires_grad_() for part in befores[start]]
        made, lost = {}, {}
        for t in range(start, end + 1):
            state, lost[t] = step(t, state)
            made[t] = state
        seen.walked += end + 1 - start
        for t in own_losses:
            wanted = [*params.values(), *first, *(part for s in made.values() for part in s)]
            found = list(
                torch.autograd.grad(
                    lost[t], wanted, retain_graph=True, allow_unused=True, materialize_grads=True
                )
            )
            for name in params:
                seen.gradient[name] += found.pop(0)
            if start > 0:
                seen.lost[start] += torch.stack(found[:states])
            del found[:states]
            for s in made:
                parts = torch.stack(found[:states])
                del found[:states]
                if s == t:
                    seen.direct[s] += parts[0]
                else:
                    seen.indirect[s] += parts
    return seen


def close(actual: Any, expected: Tensor) -> None:
    given = torch.tensor(actual, dtype=torch.float64)
    torch.testing.assert_close(given, expected, rtol=1e-9, atol=1e-9)


RESETS = [False, False, False, True, False, False, False]
CASES: list[dict[str, Any]] = [
    {},
    {"unfold": 1},
    {"unfold": 3},
    {"unfold": 3, "windows": "sliding"},
    {"windows": "sliding"},
    {"losses": "last"},
    {"losses": "last", "unfold": 4, "windows": "sliding"},
    {"resets": RESETS},
    {"resets": RESETS, "unfold": 2},
    {"resets": RESETS, "unfold": 3, "windows": "sliding"},
]


@pytest.mark.parametrize("cell", TINY_CELLS)
def test_every_part_of_the_gradient_is_autograds(tab: Page, cell: str) -> None:
    for seed, changes in enumerate(CASES):
        weights, how = weights_of(cell, seed), settings(cell, **changes)
        expected = torch_sees(weights, how)
        plain = {name: w.tolist() for name, w in weights.items()}
        seen = tab.evaluate(RUN, [plain, how, 0])["first"]
        close(
            [step["loss"] for step in seen["steps"]],
            torch.tensor(expected.losses, dtype=torch.float64),
        )
        for name in ("direct", "indirect", "lost"):
            close([part[name] for part in seen["parts"]], getattr(expected, name))
        for name, gradient in expected.gradient.items():
            close(seen["gradient"][name], gradient)
        norm = torch.cat([g.flatten() for g in expected.gradient.values()]).norm()
        close(seen["norm"], norm)
        close(seen["scale"], (1 / norm).clamp(max=1))
        assert seen["walked"] == expected.walked


@pytest.mark.parametrize("updates", [1, 20])
@pytest.mark.parametrize("cell", TINY_CELLS)
def test_training_is_torchs(tab: Page, cell: str, updates: int) -> None:
    optimizers = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    for optimizer, clip in product(optimizers, (0, 0.1, 1)):
        how = settings(cell, optimizer=optimizer, clip=clip, unfold=3)
        weights = weights_of(cell, 7)
        plain = {name: w.tolist() for name, w in weights.items()}
        ran = tab.evaluate(RUN, [plain, how, updates])
        params = {name: nn.Parameter(w.clone()) for name, w in weights.items()}
        update = optimizers[optimizer](params.values(), lr=how["lr"])
        losses = []
        for _ in range(updates):
            seen = torch_sees({name: p.detach() for name, p in params.items()}, how)
            losses.append(sum(seen.losses))
            norm = float(torch.cat([g.flatten() for g in seen.gradient.values()]).norm())
            for name, param in params.items():
                param.grad = seen.gradient[name] * (min(1.0, clip / norm) if clip else 1.0)
            update.step()
        close(ran["losses"], torch.tensor(losses, dtype=torch.float64))
        for name, param in params.items():
            close(ran["weights"][name], param.detach())


@pytest.mark.parametrize("cell", TINY_CELLS)
@pytest.mark.parametrize("unfold", [2, 5])
def test_it_begins_with_the_step_that_is_printed(tab: Page, cell: str, unfold: int) -> None:
    step = tiny_step(cell, unfold, 3)
    five = {"ids": [0, 1, 2, 3, 4], "targets": [1, 2, 3, 4, 5], "resets": [False] * 5}
    for optimizer, lr, after in (("sgd", SGD_LR, step.sgd), ("adam", ADAM_LR, step.adam)):
        how = settings(cell, unfold=unfold, optimizer=optimizer, lr=lr, **five)
        plain = {name: w.tolist() for name, w in step.weights.items()}
        ran = tab.evaluate(RUN, [plain, how, 1])
        for seen, part, s in zip(
            ran["first"]["steps"], ran["first"]["parts"], step.steps, strict=True
        ):
            close(seen["after"], torch.stack(list(s.after)))
            close(seen["p"], s.p)
            close(part["direct"], s.direct)
            close(part["indirect"][0], s.indirect)
            close(part["lost"], torch.stack(list(s.back)) * s.cut)
        for name, w in after.items():
            close(ran["weights"][name], w)


@pytest.mark.parametrize("cell", TINY_CELLS)
def test_the_start_has_room_for_every_message(cell: str) -> None:
    step, weights = tiny_step(cell, 5, 4), start_weights(cell, 4)
    for made in (weights, example_weights(cell, 2.0)):
        assert {len(row) for row in made["weight_ih"]} == {MAX_MESSAGES + 1}
        assert len(made["weight_out"]) == len(made["bias_out"]) == MAX_MESSAGES + 1
        assert {name: len(w) for name, w in made.items()}["weight_hh"] == len(made["bias_hh"])
    for name in ("weight_out", "bias_out"):
        given = step.weights[name].tolist()
        assert [*weights[name][: len(MESSAGES)], weights[name][-1]] == given
    assert weights["weight_hh"] == step.weights["weight_hh"].tolist()
    start_weights(cell, 2**63 - 1)
