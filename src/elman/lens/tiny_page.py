"""The tiny training step as one page for a classroom: offline, printable, walked by arrow keys.

The drawing is made of real numbers: the width of an arrow follows the norm of the gradient that it
carries, the depth of a cell's colour its value. Whatever belongs to phase n has the class `pn`; the
page hides later phases while it is walked through, and shows all of them without JavaScript.
"""

from html import escape

import torch
from torch import Tensor

from elman.lens.html import beside, document, fill
from elman.lens.lab import lab, script
from elman.lens.svg import Matrices, bars, line, scaled, short, text
from elman.lens.tiny import ADAM_LR, CLIP, SGD_LR, TinyStep
from elman.lens.tiny_network import network
from elman.lens.tiny_text import columns_of, cut_words, number, rows_of

WEIGHT_TITLES = {
    "weight_ih": "weight_ih, from the message: share t is column t, for message t; "
    "(end) is never read",
    "weight_hh": "weight_hh, from the state before: the first share is 0, "
    "for the state before it is 0",
    "weight_out": "weight_out, from the state to the guess",
    "bias_ih": "bias_ih",
    "bias_hh": "bias_hh",
    "bias_out": "bias_out",
}


def page(step: TinyStep) -> str:
    """Make the whole page, as one HTML document that needs nothing else."""
    name = step.cell.upper()
    body = fill(
        "tiny_page.html",
        name=name,
        cell=step.cell,
        unfold=step.unfold,
        cut=cut_words(step),
        seed=step.seed,
        network=network(step),
        sums="".join(_sum(step, name) for name in WEIGHT_TITLES),
        norm=number(step.norm),
        scale=number(step.clipped_norm / step.norm),
        norms=_norms(step),
        losses=_losses(step),
        sgd_lr=f"{SGD_LR:g}",
        adam_lr=f"{ADAM_LR:g}",
        updates="".join(_update(step, name) for name in WEIGHT_TITLES),
        rows=_rows(step),
        lab=lab(step),
    )
    title = f"Backpropagation through time: one training step, {name}"
    style = beside("tiny_page.css") + beside("lab.css")
    return document(title, style, body, script() + beside("tiny_page.js"))


def _matrices(step: TinyStep, name: str) -> Matrices:
    """Begin the drawing of a weight or bias: with the names of its rows and columns."""
    return Matrices(rows_of(step, name), [""] if name.startswith("bias") else columns_of(name))


def _figure(caption: str, drawn: str, kind: str = "") -> str:
    opening = f'<figure class="{kind}">' if kind else "<figure>"
    return f"{opening}<figcaption>{escape(caption)}</figcaption>{drawn}</figure>"


def _sum(step: TinyStep, name: str) -> str:
    shares = [s.shares[name] for s in step.steps]
    most = float(torch.stack([*shares, step.gradient[name]]).abs().max())
    drawing = _matrices(step, name)
    for t, share in enumerate(shares, 1):
        drawing.add(f"step {t}", share, most, 22 if name == "weight_ih" else 54)
        drawing.sign("=" if t == len(shares) else "+")
    drawing.add("sum", step.gradient[name], most, 54, "sum")
    drawn = drawing.drawn(f"The shares of {name} and their sum")
    return _figure(WEIGHT_TITLES[name], drawn, "bias" if name.startswith("bias") else "weight")


def _norms(step: TinyStep) -> str:
    most = max(step.norm, CLIP) * 1.12
    edge = scaled(CLIP, most)
    limit = line(edge, 22, 136, "limit") + text(edge, 12, f"at most {CLIP:g}", "unit")
    rows = [("before", step.norm, "bar deep", ""), ("after", step.clipped_norm, "good", "")]
    label = f"Norm before clipping {number(step.norm)}, after {number(step.clipped_norm)}"
    return bars(rows, most, label, top=34, over=limit)


def _losses(step: TinyStep) -> str:
    rows = [
        ("before", step.loss, "bar deep", ""),
        ("after SGD", step.sgd_loss, "sgd", _change(step.sgd_loss - step.loss)),
        ("after Adam", step.adam_loss, "adam", _change(step.adam_loss - step.loss)),
    ]
    most = max(step.loss, step.sgd_loss, step.adam_loss) * 1.05
    label = "Loss " + ", ".join(f"{name} {number(loss)}" for name, loss, _, _ in rows)
    return bars(rows, most, label)


def _change(by: float) -> str:
    return f"({'+' if by > 0 else ''}{short(by)})"


def _update(step: TinyStep, name: str) -> str:
    drawing = _matrices(step, name)
    drawing.add("before", step.weights[name], 1.0, 54)
    drawing.sign("→")
    drawing.add("SGD", step.sgd[name], 1.0, 54, "sgd")
    drawing.sign(" ")
    drawing.add("Adam", step.adam[name], 1.0, 54, "adam")
    return _figure(name, drawing.drawn(f"{name} before, after SGD and after Adam"))


def _rows(step: TinyStep) -> str:
    """Write the numbers for those who do not see the drawing, and for those who copy them."""
    return "".join(
        f"<tr><td>{t}<td>{escape(s.message)}<td>{escape(s.target)}"
        f"<td>{'; '.join(_vector(part) for part in s.after)}<td>{number(s.p[t])}"
        f"<td>{number(s.loss)}<td>{_vector(s.direct)}<td>{_vector(s.indirect)}"
        for t, s in enumerate(step.steps, 1)
    )


def _vector(values: Tensor) -> str:
    return ", ".join(number(value) for value in values)
