"""What a bot's forward pass takes without torch and with it, in turn in one process.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/runtime.py --bits --long --busy

Each figure is the median processor time of several rounds, in which every implementation has its
turn: on one thread, and on an idle machine, it is the time that passes. Memory is what a fresh
process has taken when it begins a reply. Nine minutes in all; without options three.

`--bits` scores held-out talk as well: what rounding the weights costs. `--long` reads 100,000
tokens, once with each. `--busy` lets a process run on every core and tells by how much longer the
best of 8 replies takes beside them, of the time that passes.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from machine import describe

from elman.data.dataset import Dataset
from elman.data.source import BUILT_IN
from elman.data.tokenizer import END, SPECIALS
from elman.generate.decoder import Decoder
from elman.generate.drawing import reply_batch
from elman.generate.network import load_network_bot
from elman.generate.sampling import SamplingParams
from elman.generate.scoring import bits_per_byte, subset
from elman.native.library import load
from elman.runtime.compiled import CompiledDecoder
from elman.runtime.reference import ReferenceDecoder
from elman.runtime.weights import load_weights

MEMORY = {
    "torch": "from elman.generate.network import load_network_bot\n"
    "decoder = load_network_bot({bot!r}).decoder",
    "float32": "from elman.runtime.compiled import CompiledDecoder\n"
    "from elman.runtime.weights import load_weights\n"
    "decoder = CompiledDecoder(load_weights({bot!r}))",
    "int8": "from elman.runtime.compiled import CompiledDecoder\n"
    "from elman.runtime.weights import load_weights\n"
    "decoder = CompiledDecoder(load_weights({bot!r}), 'int8')",
}


def message(decoder: Decoder, tokens: int) -> np.ndarray:
    draw = np.random.default_rng(tokens)
    return np.array([1, *draw.integers(SPECIALS, decoder.vocabulary_size, tokens), END])


def says(decoder: Decoder, rows: int, tokens: int) -> Callable[[], object]:
    """Make a run that says so many tokens in so many rows."""
    begun = decoder.read([[message(decoder, 20)]] * rows, decoder.initial_state(rows))

    def run() -> None:
        _, state = decoder.begin_reply(begun)
        for token in range(1, tokens):
            _, state = decoder.step(np.full(rows, SPECIALS + token), state)

    return run


def draws(decoder: Decoder) -> Callable[[], object]:
    """Make a run that draws 8 replies of 20 tokens and ranks them."""
    begun = decoder.read([[message(decoder, 20)]], decoder.initial_state(1))
    params = SamplingParams(max_tokens=20, seed=0, logit_bias={END: -1e9})

    def run() -> None:
        state = decoder.select(begun, [0] * 8)
        replies = [np.array([2, *own.tokens, END]) for own in reply_batch(decoder, state, params)]
        decoder.costs(replies, state)

    return run


def reads(decoder: Decoder, rows: int, tokens: int) -> Callable[[], object]:
    begun, given = decoder.initial_state(rows), [[message(decoder, tokens)]] * rows
    return lambda: decoder.read(given, begun)


FIGURES: dict[str, Callable[[Decoder], Callable[[], object]]] = {
    "20 tokens, 1 row": lambda decoder: says(decoder, 1, 20),
    "20 tokens, 32 rows": lambda decoder: says(decoder, 32, 20),
    "best of 8, 20 tokens": draws,
    "reading 500 tokens": lambda decoder: reads(decoder, 1, 500),
    "reading 32 x 60 tokens": lambda decoder: reads(decoder, 32, 60),
}

LONG: dict[str, Callable[[Decoder], Callable[[], object]]] = {
    "reading 100,000 tokens": lambda decoder: reads(decoder, 1, 100_000),
}


def beside_busy_cores(run: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Return the milliseconds of a run that pass alone, and beside one busy process a core."""

    def passed() -> float:
        times = []
        for _ in range(rounds):
            begin = time.perf_counter()
            run()
            times.append(1000 * (time.perf_counter() - begin))
        return median(times)

    alone = passed()
    command = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        return alone, passed()
    finally:
        for each in busy:
            each.kill()
            each.wait()


def memory_mb(name: str, bot: str) -> tuple[int, float]:
    """Return the megabytes and the seconds of a fresh process that begins a reply."""
    code = MEMORY[name].format(bot=bot) + (
        "\nimport re\ndecoder.begin_reply(decoder.initial_state(1))\n"
        "print(re.search(r'VmHWM:\\s*([0-9]+)', open('/proc/self/status').read())[1])"
    )
    begin = time.perf_counter()
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(ran.stdout) // 1024, time.perf_counter() - begin


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bot", default="base")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--bits", action="store_true")
    options.add_argument("--long", action="store_true")
    options.add_argument("--busy", action="store_true")
    options.add_argument("--tokens", type=int, default=20_000, help="that --bits scores")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    print(f"{describe()}; {load()[1]}\n", flush=True)
    weights, bot = load_weights(arguments.bot), load_network_bot(arguments.bot)
    decoders: dict[str, Decoder] = {
        "torch": bot.decoder,
        "torch int8": load_network_bot(arguments.bot, "int8").decoder,
        "numpy": ReferenceDecoder(weights),
        "float32": CompiledDecoder(weights),
        "bfloat16": CompiledDecoder(weights, "bfloat16"),
        "int8": CompiledDecoder(weights, "int8"),
    }
    print(
        f"| ms (times as fast) | {' | '.join(decoders)} |\n|---|{'---|' * len(decoders)}",
        flush=True,
    )
    figures = FIGURES | (LONG if arguments.long else {})
    for name, figure in figures.items():
        runs = {each: figure(decoder) for each, decoder in decoders.items()}
        if "reading" in name:  # a token at a time: it is not made for that
            del runs["numpy"]
        found: dict[str, list[float]] = {each: [] for each in runs}
        for _ in range(1 if name in LONG else arguments.rounds):
            for each, run in runs.items():
                begin = time.process_time()
                run()
                found[each].append(1000 * (time.process_time() - begin))
        today = median(found["torch"])
        cells = [
            f"{median(found[each]):.1f} ({today / median(found[each]):.2f} x)"
            if each in runs
            else ""
            for each in decoders
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    if arguments.busy:
        alone, beside = beside_busy_cores(draws(decoders["int8"]), arguments.rounds)
        print(f"best of 8 beside busy cores: {beside:.0f} ms, alone {alone:.0f} ms (int8)")
    for name in MEMORY:
        megabytes, seconds = memory_mb(name, arguments.bot)
        print(f"{name}: {megabytes} MB, {seconds:.1f} s from start to a reply's first logits")
    if arguments.bits:
        dev = subset(Dataset.read(BUILT_IN).encode(bot.tokenizer, True)[0]["dev"], arguments.tokens)
        for name in ("torch", "float32", "bfloat16", "int8"):
            bits = bits_per_byte(decoders[name], dev, bot.tokenizer, "all")
            print(f"{name}: {bits:.5f} bits per byte of held-out talk", flush=True)


if __name__ == "__main__":
    main()
