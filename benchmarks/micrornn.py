"""1,000 steps of training of examples/micrornn.py beside torch eager, for the same tiny net.

    OMP_NUM_THREADS=1 python benchmarks/micrornn.py

Both train the same weights on the same conversations by the same Adam; a step of torch's is its
RNN and autograd. They take turns, 50 steps each. Their losses agree, or this ends.
"""

import argparse
import importlib.util
import math
import random
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from machine import describe
from torch import nn

EXAMPLE = Path(__file__).parents[1] / "examples" / "micrornn.py"
TURN_STEPS = 50
LEARNING_RATE = 0.01


class TorchNet(nn.Module):
    """The net of the example, of torch's own parts."""

    def __init__(self, weights: dict[str, list[list[float]]]) -> None:
        super().__init__()
        w = {name: torch.tensor(rows, dtype=torch.float64) for name, rows in weights.items()}
        vocabulary_size, hidden_size = w["W_xh"].shape
        self.embedding = nn.Parameter(w["W_xh"])
        self.rnn = nn.RNN(hidden_size, hidden_size, dtype=torch.float64)
        self.readout = nn.Linear(hidden_size, vocabulary_size, dtype=torch.float64)
        # The characters' rows are what is added up inside tanh: nothing multiplies them.
        fixed = {"weight_ih_l0": torch.eye(hidden_size), "bias_hh_l0": torch.zeros(hidden_size)}
        taught = {"weight_hh_l0": w["W_hh"], "bias_ih_l0": w["b_h"][0]}
        self.rnn.load_state_dict(fixed | taught)
        self.readout.load_state_dict({"weight": w["W_hy"], "bias": w["b_y"][0]})
        for name, parameter in self.rnn.named_parameters():
            parameter.requires_grad_(name in taught)

    def loss(self, ids: torch.Tensor, said_by_bot: torch.Tensor) -> torch.Tensor:
        """Return the sum over the characters that the bot should say."""
        h, _ = self.rnn(self.embedding[ids[:-1]])
        logits = self.readout(h)[said_by_bot[1:]]
        return nn.functional.cross_entropy(logits, ids[1:][said_by_bot[1:]], reduction="sum")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--hidden", type=int, default=32)
    args = parser.parse_args()
    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("micrornn_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    micro: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(micro)
    print(describe())

    rng = random.Random(1)
    weights = micro.new_weights(len(micro.CHARACTERS), args.hidden, rng)
    net = TorchNet(weights)
    learned = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learned, LEARNING_RATE, betas=(0.9, 0.99))
    chats = [micro.encode(rng.choice(micro.CONVERSATIONS)) for _ in range(args.steps)]
    memory: dict[Any, Any] = {}
    spent = {"micrornn": 0.0, "torch eager": 0.0}
    for begin in range(0, args.steps, TURN_STEPS):
        turn = chats[begin : begin + TURN_STEPS]
        started = perf_counter()
        for count, chat in enumerate(turn, begin + 1):
            loss, gradient, _ = micro.backpropagate(weights, *chat)
            micro.adam(weights, gradient, memory, count, LEARNING_RATE)
        spent["micrornn"] += perf_counter() - started
        started = perf_counter()
        for ids, said_by_bot in turn:
            optimizer.zero_grad()
            of_torch = net.loss(torch.tensor(ids), torch.tensor(said_by_bot))
            of_torch.backward()
            nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
        spent["torch eager"] += perf_counter() - started
        if begin == 0 and not math.isclose(loss, of_torch.item(), rel_tol=1e-4):
            raise SystemExit(f"the losses differ: {loss} and {of_torch.item()}")
    characters = sum(len(ids) - 1 for ids, _ in chats)
    for who, seconds in spent.items():
        print(f"{who:12} {seconds:7.2f} s for {args.steps:,} steps, {characters:,} characters")
    print(f"micrornn takes {spent['micrornn'] / spent['torch eager']:.1f} times as long")


if __name__ == "__main__":
    main()
