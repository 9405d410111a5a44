"""What the units of a layer do: how long they hold, which gates are stuck, which are dead."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from elman.bptt import GRUCell, LSTMCell, MinGRUCell, MinLSTMCell, State
from elman.lens.tracing import Call

SHUT_BELOW, OPEN_ABOVE = 0.1, 0.9
"""A gate is shut below, and open above (Karpathy, Johnson and Fei-Fei 2015)."""

DEAD_UNIT_RANGE = 0.01
"""A unit whose h moves by less than this in a whole conversation is dead."""

MAX_LONGEST_UNITS = 6


@dataclass(frozen=True)
class Gates:
    """The gates of a layer that ran over one row of N steps.

    Args:
        values: by name, (N, H) each; empty where the cell has none.
        keep: which share of its memory each unit keeps at each step, (N, H); None without gates.
        memory: what is kept: c of an LSTM, else h, (N, H).
    """

    values: dict[str, Tensor]
    keep: Tensor | None
    memory: Tensor


@torch.no_grad()
def gates_of(call: Call) -> Gates:
    """Make the gates again, all steps at once: their inputs are known."""
    cell, h = call.cell, call.h.squeeze(1)
    gx = F.linear(call.x.squeeze(1), cell.weight_ih, cell.bias_ih)
    if isinstance(cell, LSTMCell | GRUCell):
        gh = F.linear(call.h_before.squeeze(1), cell.weight_hh, cell.bias_hh)  # type: ignore[arg-type]
    if isinstance(cell, LSTMCell):
        i, f, g, o = gx.add_(gh).chunk(4, dim=1)
        values = {"input": i.sigmoid(), "forget": f.sigmoid(), "output": o.sigmoid()}
        memory = _cells(call.state[1][0], values["forget"], values["input"] * g.tanh())
        return Gates(values, values["forget"], memory)
    if isinstance(cell, GRUCell):
        r, z = gx.add_(gh)[:, : 2 * cell.hidden_size].sigmoid().chunk(2, dim=1)
        return Gates({"reset": r, "update": z}, z, h)
    if isinstance(cell, MinGRUCell):
        z = gx.chunk(2, dim=1)[0].sigmoid()
        return Gates({"update": z}, 1 - z, h)
    if isinstance(cell, MinLSTMCell):
        f, i, _ = gx.chunk(3, dim=1)
        keep = (F.logsigmoid(f) - F.logsigmoid(i)).sigmoid()
        return Gates({"forget": keep}, keep, h)
    return Gates({}, None, h)


def _cells(c: Tensor, keep: Tensor, written: Tensor) -> Tensor:
    """Make c of every step of an LSTM, from the one before."""
    out = torch.empty_like(keep)
    for t in range(len(keep)):
        c = torch.addcmul(written[t], keep[t], c, out=out[t])
    return out


def states_before(call: Call, gates: Gates, steps: Tensor) -> State | None:
    """Find a layer's state before some of its steps, (steps, H) each.

    Returns None where its cell is not known well enough to say.
    """
    parts = [call.h.squeeze(1)]
    if isinstance(call.cell, LSTMCell):
        parts.append(gates.memory)
    if len(parts) != call.cell.states:
        return None
    return tuple(
        torch.cat([first, part])[steps] for first, part in zip(call.state, parts, strict=True)
    )


@dataclass(frozen=True)
class Units:
    """What the H units of one layer do over N steps.

    Args:
        hold: how much of its memory each unit keeps from step to step, as a time constant in steps:
            -1 over the mean log of what it keeps, (H,); None for a cell without such a gate.
        gates: for each gate, by its name, the share of steps at which each unit's is shut and open,
            (H, 2).
        stuck: how many units' gates are shut at every step, and how many open, by the gate's name.
        dead: units whose h hardly moves.
        longest: the units that hold longest, the longest first.
        kept: what these hold at every step, (N, units).
    """

    hold: Tensor | None
    gates: dict[str, Tensor]
    stuck: dict[str, tuple[int, int]]
    dead: list[int]
    longest: list[int]
    kept: Tensor


def units(call: Call, gates: Gates) -> Units:
    """Measure the units of a layer that has run over one row."""
    h = call.h.squeeze(1)
    hold = None
    if gates.keep is not None:
        # log f, and not f: to keep a half twice is to keep a quarter.
        mean = gates.keep.clamp_min(1e-12).log().mean(0, dtype=torch.float64)
        hold = -1 / mean.clamp_max(-1e-9)
    longest = [] if hold is None else hold.argsort(descending=True)[:MAX_LONGEST_UNITS].tolist()
    ends = {
        name: torch.stack(
            [(values < SHUT_BELOW).double().mean(0), (values > OPEN_ABOVE).double().mean(0)], 1
        )
        for name, values in gates.values.items()
    }
    return Units(
        hold=hold,
        gates=ends,
        stuck={
            name: (int((pair[:, 0] == 1).sum()), int((pair[:, 1] == 1).sum()))
            for name, pair in ends.items()
        },
        dead=((h.amax(0) - h.amin(0)) < DEAD_UNIT_RANGE).nonzero().flatten().tolist(),
        longest=longest,
        kept=gates.memory[:, longest],
    )
