"""The laboratory of the tiny page: the same step, trained in the page, and ten exercises.

The arithmetic runs in the page (lab_cells.js, lab_learning.js) and is held to torch by tests. What
it starts from is drawn here.
"""

import torch

from elman.lens.html import beside, data, fill
from elman.lens.tiny import MESSAGES, TINY_CELLS, TINY_HIDDEN_SIZE, TinyStep, draw_weights

MAX_MESSAGES = 8
LAB_SCRIPTS = (
    "page_draw.js",
    "lab_cells.js",
    "lab_learning.js",
    "lab_state.js",
    "lab_drawing.js",
    "lab_controls.js",
    "lab_predicting.js",
)

VANISHING_GAIN, EXPLODING_GAIN = 0.4, 2.0
GATE_BIASES = {"rnn": (0.0,), "gru": (4.0, 2.0, 0.0), "lstm": (0.0, 3.0, 0.0, 1.0)}
"""Of the examples, a number for each gate: a GRU and an LSTM keep most of what they hold."""
NEW_CONTENT_GATE = {"rnn": 0, "gru": 2, "lstm": 2}

WeightLists = dict[str, list]


def lab(step: TinyStep) -> str:
    """Make the section of the page."""
    start = {
        "cell": step.cell,
        "unfold": min(step.unfold, MAX_MESSAGES),
        "messages": MESSAGES,
        "most": MAX_MESSAGES,
        "weights": {
            "drawn": {cell: start_weights(cell, step.seed) for cell in TINY_CELLS},
            "tour": {cell: start_weights(cell, 0) for cell in TINY_CELLS},
            "vanishing": {cell: example_weights(cell, VANISHING_GAIN) for cell in TINY_CELLS},
            "exploding": {cell: example_weights(cell, EXPLODING_GAIN) for cell in TINY_CELLS},
        },
    }
    exercises = beside("lab_exercises.html")
    return fill("lab.html", seed=step.seed, exercises=exercises, start=data("lab-start", start))


def script() -> str:
    """Join the scripts of the section; they share one scope, and leave nothing outside of it."""
    return "(() => {" + "\n".join(beside(name) for name in LAB_SCRIPTS) + "})();"


def start_weights(cell: str, seed: int) -> WeightLists:
    """Give the weights of the tiny step room for more messages, whose columns are drawn anew.

    Returns:
        The weights for `MAX_MESSAGES` messages and, last, the end.
    """
    given, more = draw_weights(cell, seed), draw_weights(cell, (seed + 1) % 2**63)
    missing = MAX_MESSAGES - len(MESSAGES)

    def widened(name: str, dim: int) -> list:
        own, end = given[name].split([len(MESSAGES), 1], dim)
        wide: list = torch.cat([own, more[name].narrow(dim, 0, missing), end], dim).tolist()
        return wide

    weights: WeightLists = {name: w.tolist() for name, w in given.items()}
    weights["weight_ih"] = widened("weight_ih", 1)
    weights |= {name: widened(name, 0) for name in ("weight_out", "bias_out")}
    return weights


def example_weights(cell: str, gain: float) -> WeightLists:
    """Make weights with which new content is `gain` times the state before, turned around.

    Inputs are so small that tanh is nearly straight, and gates open as `GATE_BIASES` says.
    """
    size, gates = TINY_HIDDEN_SIZE, len(GATE_BIASES[cell])
    content = slice(NEW_CONTENT_GATE[cell] * size, (NEW_CONTENT_GATE[cell] + 1) * size)
    drawn = start_weights(cell, 0)
    symbols = MAX_MESSAGES + 1
    weight_ih = torch.zeros(gates * size, symbols, dtype=torch.float64)
    weight_ih[content] = torch.tensor(drawn["weight_ih"], dtype=torch.float64)[:size] / 100
    weight_hh = torch.zeros(gates * size, size, dtype=torch.float64)
    weight_hh[content] = gain * torch.eye(size, dtype=torch.float64).roll(1, 0)
    biases = torch.tensor(GATE_BIASES[cell], dtype=torch.float64).repeat_interleave(size)
    return drawn | {
        "weight_ih": weight_ih.tolist(),
        "weight_hh": weight_hh.tolist(),
        "bias_ih": biases.tolist(),
        "bias_hh": torch.zeros(gates * size).tolist(),
        "bias_out": [0.0] * symbols,
    }
