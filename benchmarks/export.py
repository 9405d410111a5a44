"""A bot away from home beside the bot at home: the same greedy tokens, and how fast each says them.

    OMP_NUM_THREADS=1 python benchmarks/export.py --tokens 10000 --node FOLDER

Both answer held-out messages of the built-in conversations, each with its own likeliest token after
the other, on one thread. What differs is said with how near the two likeliest tokens were. FOLDER
is one in which `npm install onnxruntime-web onnxruntime-node` was run. About ten minutes.
"""

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from machine import describe

from elman.data.dataset import Dataset
from elman.data.source import BUILT_IN
from elman.data.tokenizer import END, ROLES, SPECIALS
from elman.export.onnx_file import MODEL, write_onnx
from elman.generate.scoring import subset
from elman.runtime.choose import load_bot

REPLY_TOKENS = 40
TIMED_TOKENS = 400

Step = Callable[[int], np.ndarray]
"""Reads or says a token; returns the logits of the next one, (V,)."""

NODE = """
import {{ readFileSync }} from "node:fs";
import * as ort from "{package}";
ort.env.wasm && (ort.env.wasm.numThreads = 1);
const options = {{ intraOpNumThreads: 1, interOpNumThreads: 1 }};
const session = await ort.InferenceSession.create(readFileSync("model.onnx"), options);
const size = JSON.parse(readFileSync("self_test.json", "utf-8")).state_size;
let state = new ort.Tensor("float32", new Float32Array(size), [1, size]);
let begin;
for (let n = 0; n < {tokens} + 20; n++) {{
  if (n === 20) begin = performance.now();
  const token = new ort.Tensor("int32", [n % 7 + 4], [1]);
  ({{ next_state: state }} = await session.run({{ token, state }}));
}}
console.log(1000 * {tokens} / (performance.now() - begin));
"""


def onnx_steps(model: Path) -> Callable[[], Step]:
    """Return what begins a conversation in onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    size = session.get_inputs()[1].shape[1]

    def begin() -> Step:
        state = np.zeros((1, size), np.float32)

        def step(token: int) -> np.ndarray:
            nonlocal state
            given = {"token": np.array([token], np.int32), "state": state}
            logits, state = session.run(["logits", "next_state"], given)
            return np.asarray(logits[0])

        return step

    return begin


def our_steps(bot: str, precision: str) -> Callable[[], Step]:
    """Return what begins a conversation in the compiled library."""
    decoder = load_bot(bot, precision).decoder  # type: ignore[arg-type]

    def begin() -> Step:
        state = decoder.initial_state(1)

        def step(token: int) -> np.ndarray:
            nonlocal state
            logits, state = decoder.step(np.array([token], np.int64), state)
            return np.asarray(logits[0])

        return step

    return begin


def likeliest(logits: np.ndarray) -> tuple[int, float]:
    """Return the likeliest token of END and text, and by how many nats it is ahead."""
    allowed = np.where(np.arange(len(logits)) % len(logits) < SPECIALS, -np.inf, logits)
    allowed[END] = logits[END]
    second, first = np.partition(allowed, -2)[-2:]
    return int(allowed.argmax()), float(first - second)


def compare(bot: str, model: Path, tokens: int) -> None:
    """Let both answer the same messages, each reading what it has said itself."""
    loaded = load_bot(bot)
    parts, _ = Dataset.read(BUILT_IN).encode(loaded.tokenizer, True)
    talk = subset(parts["dev"], 100_000)
    begin_ours, begin_theirs = our_steps(bot, "float32"), onnx_steps(model)
    said, lines = 0, list[str]()
    for index in range(len(talk)):
        ours, theirs = begin_ours(), begin_theirs()
        for message in talk.messages(index):
            for token in message.tolist():
                ours(token), theirs(token)
            one, two = ours(ROLES["bot"]), theirs(ROLES["bot"])
            for _ in range(REPLY_TOKENS):
                (a, ahead), (b, _) = likeliest(one), likeliest(two)
                if a != b:
                    lines.append(f"  at token {said}: the two likeliest were {ahead:.1e} apart")
                said += 1
                if END in (a, b) or a != b:
                    break
                one, two = ours(a), theirs(b)
            ours(END), theirs(END)
        if said >= tokens:
            break
    print(f"{said:,} greedy tokens, {len(lines)} of them others", *lines, sep="\n", flush=True)


def rate(begin: Callable[[], Step]) -> float:
    """Return tokens a second."""
    step = begin()
    for n in range(20):
        step(n % 7 + SPECIALS)
    begun = time.perf_counter()
    for n in range(TIMED_TOKENS):
        step(n % 7 + SPECIALS)
    return TIMED_TOKENS / (time.perf_counter() - begun)


def node_rate(package: str, folder: Path) -> float:
    """Return tokens a second of a package of npm, which passes the self-test first."""
    example = (folder / "self_test.mjs").read_text("utf-8")
    (folder / "test.mjs").write_text(example.replace('"onnxruntime-web"', f'"{package}"'), "utf-8")
    subprocess.run(["node", "test.mjs"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (folder / "rate.mjs").write_text(NODE.format(package=package, tokens=TIMED_TOKENS), "utf-8")
    ran = subprocess.run(
        ["node", "rate.mjs"], cwd=folder, capture_output=True, text=True, check=True
    )
    return float(ran.stdout)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bot", default="base")
    options.add_argument("--tokens", type=int, default=10_000, help="greedy ones, to compare")
    options.add_argument("--node", type=Path, help="a folder with node_modules")
    options.add_argument("--rounds", type=int, default=5)
    arguments = options.parse_args()
    print(f"{describe()}; onnxruntime {onnxruntime.__version__}\n", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "bot"
        write_onnx(arguments.bot, folder, print)
        model = folder / MODEL
        print(f"{MODEL}: {model.stat().st_size:,} bytes", flush=True)
        if arguments.tokens:
            compare(arguments.bot, model, arguments.tokens)
        begins = {
            "Elman, float32": our_steps(arguments.bot, "float32"),
            "Elman, int8": our_steps(arguments.bot, "int8"),
            "onnxruntime": onnx_steps(model),
        }
        found: dict[str, list[float]] = {name: [] for name in begins}
        for _ in range(arguments.rounds):
            for name, begin in begins.items():
                found[name].append(rate(begin))
        if arguments.node:
            (folder / "node_modules").symlink_to(arguments.node.resolve() / "node_modules")
            for package in ("onnxruntime-node", "onnxruntime-web"):
                every = range(arguments.rounds)
                found[package] = [node_rate(package, folder) for _ in every]
        print("\n| what computes | tokens per second |\n|---|---|")
        for name, rates in found.items():
            print(f"| {name} | {np.median(rates):.0f} |")


if __name__ == "__main__":
    main()
