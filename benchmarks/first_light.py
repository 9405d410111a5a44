"""Held-out bits per byte after the same minutes: Elman's default beside a plain byte-level LSTM.

    python benchmarks/first_light.py                 # 3 minutes each, on two threads
    python benchmarks/first_light.py --json out.json

Both learn from the built-in conversations; minutes include reading and encoding them. Both are
scored on the same held-out conversations (the test part), on bare message text. The plain model
is what one writes first with PyTorch: an embedding of bytes, one torch.nn.LSTM of 384, a linear
layer; 16 lanes of 64 steps, AdamW at 3e-3 with the same warm-up, decay and clipping as Elman's.
"""

import argparse
import json
import tempfile
import time
from math import log
from pathlib import Path

import torch
from machine import describe
from torch import Tensor, nn
from torch.nn import functional as F

from elman.data.corpus import Corpus, encode_parts, scored
from elman.data.layout import Layout
from elman.data.readers import read
from elman.data.source import BUILT_IN, documents
from elman.data.split import Survey
from elman.data.stream import Stream
from elman.data.tokenizer import MIN_VOCABULARY_SIZE, Tokenizer
from elman.generate.network import load_network_bot
from elman.generate.scoring import bits_per_byte
from elman.train import Config, train
from elman.train.schedule import rate


class PlainLSTM(nn.Module):
    """Bytes in, bytes out."""

    def __init__(self, vocabulary_size: int, hidden_size: int = 384) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, hidden_size)
        self.lstm = nn.LSTM(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, vocabulary_size)

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        hidden, state = self.lstm(self.embedding(inputs), state)
        return self.output(hidden), state


def parts(tokenizer: Tokenizer) -> dict[str, Corpus]:
    survey = Survey()
    sources = documents(BUILT_IN)
    for _ in survey.watch(read(sources)):
        pass
    return encode_parts(survey.divide(read(sources), test=True), tokenizer)


def plain(minutes: float, seed: int) -> tuple[float, int]:
    """Bits per byte of the plain model, and how many steps it made."""
    started = time.monotonic()
    torch.manual_seed(seed)
    tokenizer = Tokenizer.train([], MIN_VOCABULARY_SIZE)
    corpora = parts(tokenizer)
    model = PlainLSTM(tokenizer.vocabulary_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    stream = Stream(corpora["train"], Layout(16, 64, "steps", seed=seed))
    state, steps = None, 0
    while (spent := (time.monotonic() - started) / (60 * minutes)) < 1:
        window = stream.next()
        logits, state = model(window.inputs, state)
        state = (state[0].detach(), state[1].detach())
        counts = window.weight > 0
        optimizer.zero_grad()
        F.cross_entropy(logits[counts], window.targets[counts]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * rate(spent, 0.02)
        optimizer.step()
        steps += 1
    return plain_bits(model, corpora["test"], tokenizer), steps


@torch.no_grad()
def plain_bits(model: PlainLSTM, corpus: Corpus, tokenizer: Tokenizer) -> float:
    nats, text_bytes = 0.0, 0
    for index in range(len(corpus)):
        tokens = corpus[index]
        ids = torch.from_numpy(tokens.astype("int64"))
        logits, _ = model(ids[:-1].unsqueeze(1))
        counts = torch.from_numpy(scored(tokens, "all"))[1:]
        nats += F.cross_entropy(logits[counts, 0], ids[1:][counts], reduction="sum").item()
        text_bytes += int(tokenizer.piece_bytes[tokens].sum())
    return nats / log(2) / text_bytes


def elman(minutes: float, seed: int) -> tuple[float, int]:
    """Bits per byte of Elman's default, and how many steps it made."""
    config = Config.make(
        {
            "data": {"path": BUILT_IN, "test": True},
            "train": {"minutes": minutes, "seed": seed, "base": "none"},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        result = train(config, Path(folder))
        bot = load_network_bot(Path(folder))
    test = parts(bot.tokenizer)["test"]
    return bits_per_byte(bot.decoder, test, bot.tokenizer, "all"), result.steps


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe())
    print(f"{arguments.minutes:g} minutes each, seed {arguments.seed}\n")
    print("| model | steps | held-out bits per byte |\n|---|---|---|")
    rows = {}
    for name, run in (("plain byte-level nn.LSTM, AdamW", plain), ("Elman, default", elman)):
        bits, steps = run(arguments.minutes, arguments.seed)
        print(f"| {name} | {steps:,} | {bits:.3f} |", flush=True)
        rows[name] = {"bits_per_byte": bits, "steps": steps}
    if arguments.json:
        settings = {"minutes": arguments.minutes, "seed": arguments.seed, "machine": describe()}
        arguments.json.write_text(json.dumps(settings | {"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
