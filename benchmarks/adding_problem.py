"""The adding problem: which cell can carry two numbers over 200 steps, and what clipping saves.

Hochreiter and Schmidhuber (1997), with the markers of Le et al. (2015): at each step comes a value
from U[0, 1] and a marker, which is 1 at one step of the first half and at one of the second, else
0. The target, asked for after the last step, is the sum of the two marked values. To answer 1
always gives a mean squared error of 1/6.

    python benchmarks/adding_problem.py --figure docs/adding_problem.png --json adding.json
"""

import argparse
import json
import math
import platform
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from elman.bptt import CELLS, Cell, Full

BASELINE = 1 / 6
SOLVED = 0.01
# Okabe and Ito's palette: told apart with every kind of colour vision.
COLOURS = {"rnn": "#D55E00", "gru": "#0072B2", "lstm": "#009E73"}
NAMES = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}


def adding_problem(steps: int, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs (T, B, 2) and targets (B,)."""
    value = torch.rand(steps, batch, generator=generator)
    half = steps // 2
    early = torch.randint(0, half, (1, batch), generator=generator)
    late = torch.randint(half, steps, (1, batch), generator=generator)
    marker = torch.zeros(steps, batch).scatter_(0, early, 1).scatter_(0, late, 1)
    return torch.stack([value, marker], dim=2), (value * marker).sum(0)


class Adder(nn.Module):
    """One cell and a linear readout of its last hidden state."""

    def __init__(self, name: str, hidden: int, steps: int, gain: float = 1.0) -> None:
        super().__init__()
        self.cell: Cell = CELLS[name](2, hidden)
        self.readout = nn.Linear(hidden, 1)
        self.unfold = Full()
        assert self.cell.bias_ih is not None
        assert self.cell.bias_hh is not None
        assert self.cell.weight_hh is not None
        with torch.no_grad():
            for block in self.cell.weight_hh.chunk(self.cell.gates):
                nn.init.orthogonal_(block, gain)
            self.cell.bias_ih.zero_()
            self.cell.bias_hh.zero_()
            # Chronologically spread gates (Tallec and Ollivier 2018): a unit with bias log(u)
            # forgets over about u steps. A simple RNN has no gate to give this to.
            spread = torch.empty(hidden).uniform_(1, steps - 1).log()
            if name == "gru":
                self.cell.bias_ih[hidden : 2 * hidden] = spread
            if name == "lstm":
                self.cell.bias_ih[:hidden] = -spread
                self.cell.bias_ih[hidden : 2 * hidden] = spread

    def forward(self, x: Tensor, trace: Any = None) -> Tensor:
        h, _ = self.unfold(self.cell, x, trace=trace)
        answer: Tensor = self.readout(h[-1])
        return answer[:, 0]


class GradientByLag:
    """A trace: the norm of dLoss/dh_t, for each number of steps between t and the last one."""

    def __init__(self, steps: int) -> None:
        self.norm = [0.0] * steps

    def backward_step(self, t: int, direct: Tensor, indirect: Tensor) -> None:
        self.norm[len(self.norm) - 1 - t] = (direct + indirect).norm().item()


@dataclass
class Curve:
    """What one training run measured."""

    name: str
    settings: dict[str, Any]
    step: list[int] = field(default_factory=list)
    mse: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    by_lag_before: list[float] = field(default_factory=list)
    by_lag_after: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def solved_at(self) -> int | None:
        """The first validation from which on the error stays below SOLVED."""
        above = [step for step, mse in zip(self.step, self.mse, strict=True) if not mse < SOLVED]
        later = [step for step in self.step if not above or step > above[-1]]
        return later[0] if later else None


def gradient_by_lag(net: Adder, x: Tensor, y: Tensor) -> list[float]:
    trace = GradientByLag(len(x))
    torch.autograd.grad((net(x, trace) - y).square().mean(), list(net.parameters()))
    return trace.norm


def train(
    name: str,
    *,
    hidden: int,
    steps: int,
    batch: int,
    updates: int,
    lr: float,
    clip: float | None,
    seed: int,
    optimizer: type[torch.optim.Optimizer] = torch.optim.Adam,
    gain: float = 1.0,
    every: int = 50,
    quiet: bool = False,
) -> Curve:
    settings = {k: v for k, v in locals().items() if k not in ("name", "quiet", "optimizer")}
    torch.manual_seed(seed)
    net = Adder(name, hidden, steps, gain)
    parameters = list(net.parameters())
    method = optimizer(parameters, lr=lr)  # type: ignore[call-arg]
    examples = torch.Generator().manual_seed(seed + 1)
    x_val, y_val = adding_problem(steps, 500, torch.Generator().manual_seed(seed + 2))
    curve = Curve(name, settings | {"optimizer": optimizer.__name__})
    curve.by_lag_before = gradient_by_lag(net, x_val, y_val)

    start = time.perf_counter()
    for update in range(1, updates + 1):
        x, y = adding_problem(steps, batch, examples)
        loss = (net(x) - y).square().mean()
        net.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, math.inf if clip is None else clip)
        method.step()
        curve.loss.append(loss.item())
        curve.gradient_norm.append(norm.item())
        if update % every == 0:
            with torch.no_grad():
                curve.mse.append((net(x_val) - y_val).square().mean().item())
            curve.step.append(update)
            if not quiet:
                print(f"  {NAMES[name]:5} update {update:5}  validation MSE {curve.mse[-1]:.4f}")
    curve.seconds = time.perf_counter() - start
    curve.by_lag_after = gradient_by_lag(net, x_val, y_val)
    return curve


def adding_table(curves: list[Curve]) -> str:
    header = (
        f"{'cell':5} {'parameters':>10} {'rate':>6} {'last MSE':>9} {'best MSE':>9} "
        f"{'MSE < 0.01 from':>16} {'seconds':>8}"
    )
    lines = [header]
    for curve in curves:
        hidden = curve.settings["hidden"]
        parameters = CELLS[curve.name].gates * hidden * (2 + hidden + 2) + hidden + 1
        solved = "never" if curve.solved_at is None else f"update {curve.solved_at}"
        lines.append(
            f"{NAMES[curve.name]:5} {parameters:10} {curve.settings['lr']:6g} "
            f"{curve.mse[-1]:9.4f} {min(curve.mse):9.4f} {solved:>16} {curve.seconds:8.1f}"
        )
    return "\n".join([*lines, f"(to answer 1 always has an MSE of {BASELINE:.4f})"])


def lag_table(curves: list[Curve]) -> str:
    steps = len(curves[0].by_lag_before)
    lags = [lag for lag in (0, 1, 10, 25, 50, 100, 150, steps - 1) if lag < steps]
    lines = [f"{'lag':12}" + "".join(f"{lag:9}" for lag in lags)]
    for curve in curves:
        for when, norms in (("before", curve.by_lag_before), ("after", curve.by_lag_after)):
            ratios = "".join(f"{norms[lag] / norms[0]:9.0e}" for lag in lags)
            lines.append(f"{NAMES[curve.name]:5} {when:6}{ratios}")
    return "\n".join(lines)


def first_not_finite(values: list[float]) -> int | None:
    return next((i for i, value in enumerate(values, 1) if not math.isfinite(value)), None)


def explosion_table(runs: dict[str, Curve]) -> str:
    lines = [f"{'':28} {'largest norm':>12} {'first loss not finite':>22} {'last MSE':>9}"]
    for label, curve in runs.items():
        lost = first_not_finite(curve.loss)
        lines.append(
            f"{label:28} {max(n for n in curve.gradient_norm if math.isfinite(n)):12.3g} "
            f"{'never' if lost is None else f'update {lost}':>22} {curve.mse[-1]:9.4f}"
        )
    return "\n".join(lines)


def draw(curves: list[Curve], free: Curve, clipped: Curve, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
        }
    )
    figure = plt.figure(figsize=(12.5, 4.3), layout="constrained")
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.08)
    grid = figure.add_gridspec(2, 3)
    steps = curves[0].settings["steps"]

    axes = figure.add_subplot(grid[:, 0])
    axes.axhline(BASELINE, color="0.4", linestyle=":", linewidth=1.4)
    axes.annotate(
        "always answering 1",
        (1, BASELINE),
        (0, 6),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        ha="right",
        color="0.3",
        fontsize=9,
    )
    for curve in curves:
        axes.semilogy(curve.step, curve.mse, color=COLOURS[curve.name], label=NAMES[curve.name])
    axes.set_ylim(1e-4, 1)
    axes.set_title(f"Adding two numbers over {steps} steps")
    axes.set_xlabel("update")
    axes.set_ylabel("validation MSE")
    axes.legend(loc="lower left")

    axes = figure.add_subplot(grid[:, 1])
    solid: dict[str, Any] = {"linestyle": "-"}
    dashed: dict[str, Any] = {"linestyle": "--"}
    for curve in curves:
        for norms, style in ((curve.by_lag_before, dashed), (curve.by_lag_after, solid)):
            relative = [norm / norms[0] for norm in norms]
            axes.semilogy(relative, color=COLOURS[curve.name], **style)
    axes.set_ylim(1e-12, 5)
    axes.set_title("How far back the gradient reaches")
    axes.set_xlabel("lag $T - t$")
    axes.set_ylabel(r"$\Vert dh_t \Vert \; / \; \Vert dh_T \Vert$")
    # Empty lines are the legend's: it names colour and style apart.
    for curve in curves:
        axes.plot([], [], color=COLOURS[curve.name], label=NAMES[curve.name])
    axes.plot([], [], color="0.3", label="before training", **dashed)
    axes.plot([], [], color="0.3", label="after training", **solid)
    axes.legend(loc="lower right", fontsize=9)

    upper = figure.add_subplot(grid[0, 2])
    lower = figure.add_subplot(grid[1, 2], sharex=upper)
    for curve, label, colour in (
        (free, "no clipping", "#D55E00"),
        (clipped, f"clipped to {clipped.settings['clip']:g}", "#0072B2"),
    ):
        for axes, values in ((upper, curve.gradient_norm), (lower, curve.loss)):
            last = next((i for i, v in enumerate(values) if not v < 1e6), len(values))
            updates = range(1, last + 1)
            axes.loglog(updates, values[:last], color=colour, linewidth=1.1, label=label)
            if last < len(values):
                axes.plot(last, values[last - 1], "^", color=colour, markersize=7)
    upper.set_title(f"Clipping (RNN, {free.settings['steps']} steps, SGD)")
    upper.set_ylabel("gradient norm\nbefore clipping")
    upper.legend(loc="upper right", fontsize=9)
    upper.tick_params(labelbottom=False)
    lower.set_ylabel("training loss")
    lost = first_not_finite(free.loss)
    if lost is not None:
        where = (0.98, 0.7)
        note = f"not finite from update {lost}"
        lower.text(*where, note, transform=lower.transAxes, ha="right", color="#D55E00", fontsize=9)
    lower.set_xlabel("update")
    figure.align_ylabels([upper, lower])
    figure.savefig(path, dpi=150, metadata={"Software": None})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=200, help="T, the length of a sequence")
    parser.add_argument("--hidden", type=int, default=64, help="hidden units of every cell")
    parser.add_argument("--batch", type=int, default=32, help="sequences per update")
    parser.add_argument("--updates", type=int, default=1000, help="updates per cell")
    parser.add_argument("--lr", type=float, default=1e-2, help="Adam's rate, for every cell")
    parser.add_argument(
        "--rnn-lr",
        type=float,
        nargs="*",
        default=[3e-3, 1e-3],
        help="further rates that the RNN alone may try; its best run counts",
    )
    parser.add_argument("--clip", type=float, default=1.0, help="largest gradient norm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="torch's threads")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement here")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the figure here (PNG)")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    print(
        f"torch {torch.__version__}, {platform.machine()}, {torch.get_num_threads()} thread(s), "
        f"seed {args.seed}"
    )
    print(
        f"adding problem: T={args.steps}, hidden {args.hidden}, batch {args.batch}, "
        f"{args.updates} updates, Adam at {args.lr:g} (the RNN also at "
        f"{', '.join(f'{lr:g}' for lr in args.rnn_lr) or 'no other rate'}; its best run counts), "
        f"clipping at {args.clip:g}"
    )
    print(
        "first weights: weight_hh orthogonal per gate, weight_ih as in torch, biases zero but for "
        "the chrono spread of the gates of GRU and LSTM"
    )
    common = {
        "hidden": args.hidden,
        "steps": args.steps,
        "batch": args.batch,
        "updates": args.updates,
        "clip": args.clip,
        "seed": args.seed,
    }
    curves, tried = [], []
    for name in ("rnn", "gru", "lstm"):
        rates = [args.lr, *(args.rnn_lr if name == "rnn" else [])]
        runs = [train(name, lr=lr, **common) for lr in rates]
        tried += runs
        curves.append(min(runs, key=lambda run: min(run.mse)))
    print("\n" + adding_table(tried))
    print("\n|dLoss/dh_t| by lag T - t, relative to lag 0, before and after training")
    print(lag_table(curves))

    # With gain 1 the same rate is stable without clipping, so it is the larger recurrent weights
    # that explode, and not merely too long a step.
    short = common | {"steps": 20, "updates": 3000, "lr": 0.05, "optimizer": torch.optim.SGD}
    print("\nclipping: RNN, T=20, SGD at 0.05, 3000 updates; weight_hh = gain * orthogonal")
    explosion = {
        "gain 1.2, no clipping": train("rnn", **short | {"clip": None}, gain=1.2, quiet=True),
        f"gain 1.2, clipped to {args.clip:g}": train("rnn", **short, gain=1.2, quiet=True),
        "gain 1.0, no clipping": train("rnn", **short | {"clip": None}, gain=1.0, quiet=True),
    }
    print(explosion_table(explosion))

    if args.json:
        measured: dict[str, Any] = {"torch": torch.__version__, "threads": args.threads}
        measured["runs"] = [asdict(run) for run in (*tried, *explosion.values())]
        args.json.write_text(json.dumps(measured))
    if args.figure:
        free, clipped, _ = explosion.values()
        draw(curves, free, clipped, args.figure)


if __name__ == "__main__":
    main()
