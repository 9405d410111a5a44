"""Elman as TorchRL's recurrent backend beside TorchRL's own, on a CPU: forward and backward.

    python benchmarks/torchrl_backend.py --threads 1

128 rows of 128 steps, 256 wide, of which 3 % begin an episode. It needs torchrl and tensordict
(and hoptorch for its `scan`). All take their turn in one process; shown is the median.
"""

import argparse
import importlib.util
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from machine import describe

EXAMPLE = Path(__file__).parents[1] / "examples" / "torchrl_backend.py"
KEYS = {"LSTM": ["h", "c"], "GRU": ["h"]}


def modules_of(name: str, size: int) -> dict[str, Any]:
    """Make TorchRL's module with each of its backends for a CPU, and Elman's, all the same."""
    from torchrl import modules

    spec = importlib.util.spec_from_file_location("backend", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    theirs, ours = getattr(modules, f"{name}Module"), getattr(example, f"Elman{name}Module")
    options = {
        "input_size": size,
        "hidden_size": size,
        "in_keys": ["x", *KEYS[name]],
        "out_keys": ["y", *[("next", key) for key in KEYS[name]]],
        "default_recurrent_mode": True,
    }
    made = {
        "TorchRL, pad": theirs(**options),
        "TorchRL, pad, python-based": theirs(**options, python_based=True),
        "Elman": ours(**options),
    }
    if importlib.util.find_spec("hoptorch") is not None:
        made["TorchRL, scan"] = theirs(**options, recurrent_backend="scan")
    weights = made["Elman"].state_dict()
    for module in made.values():
        module.load_state_dict(weights)
    return made


def seconds(module: Any, data: Any) -> tuple[float, torch.Tensor]:
    """Time a forward and backward pass; return the outputs too."""
    module.zero_grad()
    begin = perf_counter()
    y = module(data.clone(recurse=False))["y"]
    y.square().mean().backward()
    return perf_counter() - begin, y.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--resets", type=float, default=0.03, help="share of steps")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    from tensordict import TensorDict

    print(describe())
    shape = (args.rows, args.steps)
    drawn = torch.Generator().manual_seed(0)
    data = TensorDict(
        {
            "x": torch.randn(*shape, args.size, generator=drawn),
            "is_init": torch.rand(*shape, 1, generator=drawn) < args.resets,
        },
        shape,
    )
    for name in KEYS:
        modules = modules_of(name, args.size)
        spent: dict[str, list[float]] = {who: [] for who in modules}
        for turn in range(args.rounds + 1):
            found = {}
            for who, module in modules.items():
                took, found[who] = seconds(module, data)
                if turn:  # the first is a warm-up
                    spent[who].append(took)
        for who, y in found.items():
            torch.testing.assert_close(y, found["Elman"], rtol=1e-4, atol=1e-5, msg=who)
        best = min(median(times) for who, times in spent.items() if who != "Elman")
        for who, times in spent.items():
            print(f"{name:5} {who:28} {1000 * median(times):8.0f} ms")
        print(f"{name:5} Elman is {best / median(spent['Elman']):.2f} times as fast as the best\n")


if __name__ == "__main__":
    main()
