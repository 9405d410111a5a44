"""Character-level Shakespeare against nanoGPT's figures: validation loss after 45 s and 10 minutes.

    python benchmarks/shakespeare.py --data DIR          # holds tinyshakespeare's input.txt

nanoGPT's split: the first 90 % is learned, the last 10 % is scored, in nats a character. nanoGPT
says 1.88 for some 3 minutes on a CPU and 1.4697 for 3 minutes on an A100. Nothing is chosen by the
validation part, no weights change while it is scored, and minutes include all but the scoring.
The text is read as one long sequence whose state is carried, in training and scoring alike.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from machine import describe
from torch import Tensor

from elman.bptt import Full, State, linear_cross_entropy
from elman.bptt.precision import measure
from elman.model.blocks import RecurrentStack
from elman.train.optim import make_optimizer
from elman.train.schedule import rate

SPLIT = 0.9
NANOGPT = {0.75: 1.88, 10.0: 1.4697}
"""Minutes here, and the loss to be under."""

RECIPES = {
    0.75: {"size": 256, "mlp": 0.0, "dropout": 0.0, "lanes": 32, "window": 64, "lr": 4e-3},
    10.0: {"size": 256, "mlp": 1.0, "dropout": 0.15, "lanes": 32, "window": 64, "lr": 3e-3},
}


class Characters(torch.nn.Module):
    """Elman's stack over characters, its output layer tied to the embedding."""

    def __init__(self, vocabulary: int, size: int, mlp: float, dropout: float) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(vocabulary, size)
        torch.nn.init.normal_(self.embedding.weight, std=size**-0.5)
        self.bias = torch.nn.Parameter(torch.zeros(vocabulary))
        self.stack = RecurrentStack("lstm", 2, size, dropout, mlp)
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, ids: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """The mean loss in nats of (T, B) characters, and the state after them."""
        hidden, state = self.stack(self.dropout(self.embedding(ids)), state, None, None, Full())
        hidden = self.dropout(hidden).flatten(0, 1)
        nats = linear_cross_entropy(
            hidden, self.embedding.weight, targets.flatten(), self.bias, reduction="mean"
        )
        return nats, tuple(tensor.detach() for tensor in state)


def windows(text: Tensor, lanes: int, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless windows; in each pass the lanes begin somewhere else."""
    while True:
        shift = int(torch.randint(len(text), ()))
        turned = torch.cat([text[shift:], text[:shift]])
        steps = (len(text) - 1) // lanes
        inputs = turned[: steps * lanes].view(lanes, steps).t()
        targets = turned[1 : steps * lanes + 1].view(lanes, steps).t()
        for begin in range(0, steps - length + 1, length):
            yield inputs[begin : begin + length], targets[begin : begin + length]


@torch.no_grad()
def validate(model: Characters, text: Tensor) -> float:
    model.eval()
    state, total = model.stack.initial_state(1), 0.0
    for begin in range(0, len(text) - 1, 4096):
        end = min(begin + 4096, len(text) - 1)
        ids, targets = text[begin:end, None], text[begin + 1 : end + 1, None]
        loss, state = model(ids, targets, state)
        total += loss.item() * (end - begin)
    return total / (len(text) - 1)


def run(path: Path, minutes: float, seed: int) -> tuple[float, int, float]:
    """Validation loss, steps, and passes over the training text."""
    started = time.monotonic()
    recipe = RECIPES[min(RECIPES, key=lambda known: abs(known - minutes))]
    torch.manual_seed(seed)
    text = path.read_text("utf-8")
    ids = {character: n for n, character in enumerate(sorted(set(text)))}
    whole = torch.tensor([ids[character] for character in text])
    cut = int(SPLIT * len(whole))
    size, lanes, window = int(recipe["size"]), int(recipe["lanes"]), int(recipe["window"])
    model = Characters(len(ids), size, recipe["mlp"], recipe["dropout"])
    lr = recipe["lr"]
    optimizer = make_optimizer("adamw", model, lr=lr, momentum=0.9, weight_decay=0.01)
    low = measure(size)[0] == "bfloat16"
    state, steps = model.stack.initial_state(lanes), 0
    stream = windows(whole[:cut], lanes, window)
    while (spent := (time.monotonic() - started) / (60 * minutes)) < 1:
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss, state = model(*next(stream), state)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = lr * rate(spent, 0.02)
        optimizer.step()
        steps += 1
    return validate(model, whole[cut:]), steps, steps * lanes * window / cut


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, nargs="+", default=list(NANOGPT))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), "\n", flush=True)
    print("| minutes | seed | steps | passes | validation loss | to be under |")
    print("|---|---|---|---|---|---|")
    for minutes in arguments.minutes:
        for seed in arguments.seeds:
            loss, steps, passes = run(arguments.data / "input.txt", minutes, seed)
            wanted = NANOGPT.get(minutes, "")
            print(
                f"| {minutes:g} | {seed} | {steps:,} | {passes:.1f} | {loss:.4f} | {wanted} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
