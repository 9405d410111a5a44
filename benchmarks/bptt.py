"""The engine beside torch's own layers: speed, memory, very long sequences, decoding.

    python benchmarks/bptt.py                              # every table, about 20 minutes
    python benchmarks/bptt.py --only layers decoding       # some of them
    python benchmarks/bptt.py --only layers --avx2         # as on a processor without AVX-512

All in one process, interleaved: each round runs every contender once, and the median of the rounds
is shown, so that whatever else the machine does hits all alike. torch runs in its best mode at the
same precision: float32 with oneDNN and without; bfloat16 under autocast, and with bfloat16 weights.
Peak memory is how far the process's resident memory rises (Linux).
"""

import argparse
import copy
import ctypes
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, get_args

import torch
from machine import describe
from torch import Tensor, nn
from torch.nn import functional as F

import elman
from elman import Checkpointed, PackedLinear, Stepper, linear_cross_entropy
from elman.bptt.decode import Precision
from elman.bptt.kernels.native import load

AVX2 = {
    "ELMAN_KERNELS": "avx2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}

ROUNDS = 7
SIZES = [(512, 64, 256), (128, 32, 128), (384, 16, 64)]
WANTED = {
    ("LSTM", 512, "float32"): 1.0, ("LSTM", 512, "bfloat16"): 1.2,
    ("GRU", 512, "float32"): 1.25, ("GRU", 512, "bfloat16"): 1.35,
    ("RNN", 512, "float32"): 1.25, ("RNN", 512, "bfloat16"): 1.5,
    ("LSTM", 128, "float32"): 1.0, ("LSTM", 128, "bfloat16"): 1.0,
    ("GRU", 128, "float32"): 2.0, ("GRU", 128, "bfloat16"): 2.5,
    ("RNN", 128, "float32"): 2.0, ("RNN", 128, "bfloat16"): 2.0,
    ("LSTM", 384, "float32"): 1.0, ("LSTM", 384, "bfloat16"): 1.15,
    ("GRU", 384, "float32"): 1.35, ("GRU", 384, "bfloat16"): 1.7,
}  # fmt: skip
"""What the project set itself, as ratios to torch's best mode."""


def interleaved(contenders: dict[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, float]:
    """Median milliseconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for run in range(rounds + 1):
        for name, work in contenders.items():
            begin = perf_counter()
            work()
            if run > 0:  # the first is a warm-up
                seconds[name].append(perf_counter() - begin)
    return {name: 1000 * median(times) for name, times in seconds.items()}


def both_ways(
    layer: Callable[..., Any], x: Tensor, low: bool = False, **options: Any
) -> Callable[[], None]:
    """One forward and backward pass, gradients of weights and input included."""
    weights = list(layer.parameters()) if isinstance(layer, nn.Module) else []

    def work() -> None:
        inputs = x.detach().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16) if low else nullcontext():
            out = layer(inputs, **options)[0]
        torch.autograd.grad(out, [inputs, *weights], torch.ones_like(out))

    return work


def without_onednn(work: Callable[[], Any]) -> Callable[[], None]:
    def without() -> None:
        with torch.backends.mkldnn.flags(enabled=False):
            work()

    return without


def pair(name: str, input_size: int, hidden_size: int, **options: Any) -> tuple[Any, Any]:
    """Elman's layer and torch's, with the same weights."""
    theirs = getattr(nn, name)(input_size, hidden_size, **options)
    ours = getattr(elman, name)(input_size, hidden_size, **options)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def products_alone(gates: int, size: int, batch: int, steps: int) -> Callable[[], None]:
    """The matrix products of a pass by torch.mm, and nothing else."""
    rows = steps * batch
    x, dgates = torch.randn(rows, size), torch.randn(rows, gates * size)
    weight = torch.randn(gates * size, size)
    h, dg = torch.randn(batch, size), torch.randn(batch, gates * size)
    transposed = weight.t().contiguous()

    def work() -> None:
        torch.mm(x, weight.t())
        for _ in range(steps):
            torch.mm(h, transposed)
            torch.mm(dg, weight)
        torch.mm(dgates, weight)
        torch.mm(dgates.t(), x)
        torch.mm(dgates.t(), x)

    return work


def layers() -> Iterator[dict[str, Any]]:
    """Forward and backward of one layer, at both precisions; with --avx2 in float32 alone."""
    for size, batch, steps in SIZES:
        for name, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
            ours, theirs = pair(name, size, size)
            x = torch.randn(steps, batch, size)
            full = interleaved(
                {
                    "elman": both_ways(ours, x),
                    "torch": both_ways(theirs, x),
                    "torch, oneDNN off": without_onednn(both_ways(theirs, x)),
                    "products": products_alone(gates, size, batch, steps),
                }
            )
            found = {"float32": full}
            if os.environ.items().isdisjoint(AVX2.items()):  # it has no bfloat16 to speak of
                weights = copy.deepcopy(theirs).to(torch.bfloat16)
                found["bfloat16"] = interleaved(
                    {
                        "elman": both_ways(ours, x, low=True),
                        "torch, autocast": both_ways(theirs, x, low=True),
                        "torch, bfloat16 weights": both_ways(weights, x.to(torch.bfloat16)),
                    }
                )
            for precision, times in found.items():
                best = min((n for n in times if n.startswith("torch")), key=times.__getitem__)
                yield {
                    "layer": name, "H": size, "B": batch, "T": steps, "precision": precision,
                    "elman ms": times["elman"], "torch ms": times[best], "torch mode": best,
                    "products ms": full["products"],
                    "ratio": times[best] / times["elman"],
                    "to torch float32": full["torch"] / times["elman"],
                    "wanted": WANTED.get((name, size, precision)),
                }  # fmt: skip


def ragged() -> Iterator[dict[str, Any]]:
    """Chats as long as the built-in ones: lanes with resets against a PackedSequence."""
    from elman.data.readers import read
    from elman.data.source import BUILT_IN, documents

    lengths = []
    for conversation in read(documents(BUILT_IN)):
        lengths.append(min(500, sum(len(text) // 4 + 2 for _, text in conversation.runs())))
        if len(lengths) == 24:
            break
    size, lanes = 256, 8
    chats = [torch.randn(length, size) for length in lengths]
    packed = nn.utils.rnn.pack_sequence(sorted(chats, key=len, reverse=True))
    # The same chats end to end: each goes to the lane that is shortest so far.
    filled: list[list[Tensor]] = [[] for _ in range(lanes)]
    for chat in sorted(chats, key=len, reverse=True):
        min(filled, key=lambda lane: sum(map(len, lane))).append(chat)
    steps = max(sum(map(len, lane)) for lane in filled)
    x, keep = torch.zeros(steps, lanes, size), torch.ones(steps, lanes, dtype=torch.bool)
    for number, lane in enumerate(filled):
        at = 0
        for chat in lane:
            x[at : at + len(chat), number] = chat
            keep[at, number] = False
            at += len(chat)
    for name in ("LSTM", "GRU"):
        ours, theirs = pair(name, size, size)
        weights = list(theirs.parameters())

        def by_torch(theirs: Any = theirs, weights: list[Any] = weights) -> None:
            inputs = packed.data.detach().requires_grad_()
            given = nn.utils.rnn.PackedSequence(inputs, packed.batch_sizes)
            out = theirs(given)[0].data
            torch.autograd.grad(out, [inputs, *weights], torch.ones_like(out))

        times = interleaved({"elman": both_ways(ours, x, keep=keep), "torch": by_torch})
        yield {
            "layer": name, "chats": len(lengths), "steps in all": sum(lengths), "H": size,
            "elman ms": times["elman"], "torch ms": times["torch"],
            "ratio": times["torch"] / times["elman"], "wanted": 5.0,
        }  # fmt: skip


def resident_peak(work: Callable[[], Any]) -> int:
    """How far the process's resident memory rises while `work` runs, in bytes (Linux)."""

    def status(field: str) -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
        raise LookupError(field)

    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back, or it would be used unseen
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is held now
    before = status("VmRSS")
    work()
    return status("VmHWM") - before


def memory() -> Iterator[dict[str, Any]]:
    """What a pass over 1,024 steps holds, beyond input, output and their gradients."""
    size, batch, steps = 512, 16, 1024
    x = torch.randn(steps, batch, size)
    outside = 4 * x.nbytes  # input, output, and the gradient of each
    for name in ("LSTM", "GRU"):
        ours, theirs = pair(name, size, size)
        frugal = Checkpointed(32)
        works = {
            "elman": both_ways(ours, x),
            "elman, Checkpointed(32)": both_ways(ours, x, unfold=frugal),
            "torch": both_ways(theirs, x),
        }
        times = interleaved(works)
        peaks = {who: resident_peak(work) for who, work in works.items()}
        held = {who: max(0, peak - outside + x.nbytes) for who, peak in peaks.items()}
        for who in works:
            yield {
                "layer": name, "mode": who, "T": steps, "B": batch, "H": size,
                "MiB": held[who] / 2**20, "of torch's": held[who] / held["torch"],
                "ms": times[who], "times Elman's fastest": times[who] / times["elman"],
            }  # fmt: skip


def million() -> Iterator[dict[str, Any]]:
    """An exact gradient through a million steps of one lane."""
    size, inputs = 128, 8

    def layer(steps: int) -> tuple[Any, Tensor]:
        torch.manual_seed(0)
        rnn = elman.RNN(inputs, size)
        weight_ih, weight_hh, *biases = rnn.parameters()
        nn.init.orthogonal_(weight_hh)
        with torch.no_grad():  # small enough to stay where tanh is nearly linear
            weight_ih.mul_(1e-6)
            for bias in biases:
                bias.zero_()
        return rnn, torch.randn(steps, 1, inputs)

    per_step = {}
    for steps in (1_000, 1_000_000):
        rnn, x = layer(steps)
        first: dict[str, Any] = {}

        def work(rnn: Any = rnn, x: Tensor = x, first: dict[str, Any] = first) -> None:
            given = x.detach().requires_grad_()
            out = rnn(given, unfold=Checkpointed(1_000))[0]
            (dx,) = torch.autograd.grad(out[-1].sum(), [given])
            first["gradient"], first["outside"] = dx[0].norm().item(), 2 * (out.nbytes + dx.nbytes)

        rounds = [interleaved({"run": work}, 1 if steps > 1_000 else ROUNDS)["run"]]
        per_step[steps] = 1000 * rounds[0] / steps
        peak = resident_peak(work)
        yield {
            "steps": steps, "H": size, "us a step": per_step[steps],
            "times that of 1,000": per_step[steps] / per_step[1_000],
            "MiB beyond inputs and outputs": max(0, peak - first["outside"]) / 2**20,
            "gradient at step 1": first["gradient"],
        }  # fmt: skip


def language_model() -> Iterator[dict[str, Any]]:
    """A step of a language model with its loss: embedding, layer, output layer, cross-entropy."""
    vocabulary, size, batch, steps = 8192, 512, 64, 128
    ours, theirs = pair("LSTM", size, size)
    embedding, output = nn.Embedding(vocabulary, size), nn.Linear(size, vocabulary)
    ids = torch.randint(vocabulary, (steps, batch))
    targets = torch.randint(vocabulary, (steps * batch,))

    def step(layer: Any, chunked: bool) -> Callable[[], None]:
        weights = [*layer.parameters(), *embedding.parameters(), *output.parameters()]

        def work() -> None:
            hidden = layer(embedding(ids))[0].flatten(0, 1)
            if chunked:
                loss = linear_cross_entropy(
                    hidden, output.weight, targets, output.bias, reduction="mean"
                )
            else:
                loss = F.cross_entropy(output(hidden), targets)
            torch.autograd.grad(loss, weights)

        return work

    works = {"elman": step(ours, True), "torch": step(theirs, False)}
    times = interleaved(works, 3)
    peaks = {who: resident_peak(work) for who, work in works.items()}
    for who in works:
        yield {
            "who": who, "V": vocabulary, "H": size, "B": batch, "T": steps, "ms": times[who],
            "peak MiB": peaks[who] / 2**20, "of torch's": peaks[who] / peaks["torch"],
        }  # fmt: skip


def decoding() -> Iterator[dict[str, Any]]:
    """One token after the other: two layers of 512, a vocabulary of 8,192."""
    vocabulary, size = 8192, 512
    _, theirs = pair("LSTM", size, size, num_layers=2)
    output = nn.Linear(size, vocabulary)
    x = torch.randn(1, 1, size)
    zeros = torch.zeros(2, 1, size)

    @torch.no_grad()
    def by_torch() -> Tensor:
        logits: Tensor = output(theirs(x, (zeros, zeros))[0][0])
        return logits

    works: dict[str, Callable[[], Any]] = {
        "torch, as shipped": by_torch,
        "torch, oneDNN off": without_onednn(by_torch),
    }
    for precision in get_args(Precision):
        cells = []
        for layer in range(2):
            cell = elman.LSTMCell(size, size)
            cell.load_state_dict({n: getattr(theirs, f"{n}_l{layer}") for n in cell.state_dict()})
            cells.append(Stepper(cell, precision))
        last = PackedLinear(output.weight, output.bias, precision)

        def ours(cells: list[Stepper] = cells, last: PackedLinear = last) -> Tensor:
            h = x
            for step in cells:
                h, _ = step(h, (zeros[0], zeros[0]))
            return last(h[0])

        works[f"elman, {precision}"] = ours
    exact = by_torch()
    times = interleaved(works, 51)
    # Apart: its threads wait actively for a while, on cores that the next contender needs.
    onnx = onnx_sessions(theirs, output, x, zeros)
    times |= interleaved(onnx, 51)
    works |= onnx
    for who, work in works.items():
        result = work()
        result = exact if result is None else result
        yield {
            "who": who, "ms a token": times[who],
            "to torch as shipped": times["torch, as shipped"] / times[who],
            "to oneDNN off": times["torch, oneDNN off"] / times[who],
            "largest error of a logit": (torch.as_tensor(result) - exact).abs().max().item(),
        }  # fmt: skip


def onnx_sessions(
    lstm: nn.LSTM, output: nn.Linear, x: Tensor, zeros: Tensor
) -> dict[str, Callable[[], Any]]:
    """The same step by onnxruntime, in float32 and with int8 weights; empty where it is missing."""
    try:
        import onnx
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        print(f"onnxruntime is left out: {error}")
        return {}
    import tempfile

    size = lstm.hidden_size
    nodes, weights, name = [], [], "x"
    for layer in range(2):
        # ONNX stacks the gates as i, o, f, c; torch as i, f, c, o.
        def stacked(tensor: Tensor) -> Tensor:
            i, f, c, o = tensor.detach().chunk(4)
            return torch.cat([i, o, f, c])

        tensors = {
            f"W{layer}": stacked(getattr(lstm, f"weight_ih_l{layer}")).unsqueeze(0),
            f"R{layer}": stacked(getattr(lstm, f"weight_hh_l{layer}")).unsqueeze(0),
            f"B{layer}": torch.cat(
                [stacked(getattr(lstm, f"bias_{kind}_l{layer}")) for kind in ("ih", "hh")]
            ).unsqueeze(0),
        }
        weights += [numpy_helper.from_array(t.numpy(), n) for n, t in tensors.items()]
        nodes.append(
            helper.make_node(
                "LSTM", [name, *tensors, "", f"h{layer}", f"c{layer}"], [f"y{layer}"],
                hidden_size=size,
            )
        )  # fmt: skip
        nodes.append(helper.make_node("Squeeze", [f"y{layer}", "axis"], [f"s{layer}"]))
        name = f"s{layer}"
    weights.append(numpy_helper.from_array(torch.tensor([1]).numpy(), "axis"))
    weights.append(numpy_helper.from_array(output.weight.detach().t().contiguous().numpy(), "WO"))
    weights.append(numpy_helper.from_array(output.bias.detach().numpy(), "BO"))
    nodes.append(helper.make_node("MatMul", [name, "WO"], ["product"]))
    nodes.append(helper.make_node("Add", ["product", "BO"], ["logits"]))
    given = ["x", *(f"{part}{layer}" for layer in range(2) for part in "hc")]
    graph = helper.make_graph(
        nodes, "decoder",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, size]) for n in given],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, output.out_features])],
        weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    feeds = {n: (x if n == "x" else zeros[:1]).numpy() for n in given}
    works: dict[str, Callable[[], Any]] = {}

    def run(session: Any) -> Any:
        return session.run(None, feeds)[0]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "decoder.onnx"
        onnx.save(model, path)
        quantize_dynamic(path, path.with_suffix(".int8"), weight_type=QuantType.QInt8)
        for precision, file in (("float32", path), ("int8", path.with_suffix(".int8"))):
            session = onnxruntime.InferenceSession(file, options)
            works[f"onnxruntime, {precision}"] = partial(run, session)
    return works


TABLES = {
    "layers": layers,
    "ragged": ragged,
    "memory": memory,
    "million": million,
    "language_model": language_model,
    "decoding": decoding,
}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.2e}" if 0 < abs(value) < 0.01 else f"{value:.2f}"
        return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)

    titles = list(rows[0])
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(cell(row[title]) for title in titles) + " |" for row in rows]
    return "\n".join(lines)


def summary(rows: list[dict[str, Any]]) -> str:
    """The ratios of `layers` alone, a row for each size."""
    columns = list(dict.fromkeys((row["layer"], row["precision"]) for row in rows))
    titles = " | ".join(f"{name} {precision}" for name, precision in columns)
    lines = [f"| times as fast as torch | {titles} |", "|" + "---|" * (1 + len(columns))]
    for size, batch, steps in SIZES:
        ratios = {
            (row["layer"], row["precision"]): f"{row['ratio']:.2f}"
            for row in rows
            if row["H"] == size
        }
        cells = " | ".join(ratios[column] for column in columns)
        lines.append(f"| H={size} B={batch} T={steps} | {cells} |")
    return "\n".join(lines)


def curves(path: Path) -> list[dict[str, Any]]:
    """Ratios to torch's best float32 mode over hidden size, lanes and steps, drawn as a picture."""
    import matplotlib.pyplot as plt

    axes_of = {
        "H": [(size, 16, 64) for size in (32, 64, 128, 256, 512)],
        "B": [(256, lanes, 64) for lanes in (1, 4, 16, 64, 128)],
        "T": [(256, 16, steps) for steps in (8, 32, 128, 512)],
    }
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained", sharey=True)
    found = []
    names = {"H": "hidden size (16 lanes, 64 steps)", "B": "lanes (256, 64 steps)",
             "T": "steps (256, 16 lanes)"}  # fmt: skip
    for axis, (what, sizes) in zip(axes, axes_of.items(), strict=True):
        for name, color in (("LSTM", "#0072b2"), ("GRU", "#d55e00"), ("RNN", "#009e73")):
            ratios = []
            for size, batch, steps in sizes:
                ours, theirs = pair(name, size, size)
                x = torch.randn(steps, batch, size)
                times = interleaved(
                    {
                        "elman": both_ways(ours, x),
                        "torch": both_ways(theirs, x),
                        "off": without_onednn(both_ways(theirs, x)),
                    }
                )
                ratio = min(times["torch"], times["off"]) / times["elman"]
                ratios.append(ratio)
                found.append({"layer": name, "H": size, "B": batch, "T": steps, "ratio": ratio})
            place = "HBT".index(what)
            axis.plot([s[place] for s in sizes], ratios, "o-", color=color, label=name)
        axis.axhline(1, color="0.6", linewidth=0.8)
        axis.set_xscale("log", base=2)
        axis.set_xlabel(names[what])
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("times as fast as torch's best")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=130)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--avx2", action="store_true", help="all contenders without AVX-512")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--figure", type=Path, help="draw the curves over H, B and T here")
    arguments = parser.parse_args()
    if arguments.avx2 and "ELMAN_KERNELS" not in os.environ:
        # Libraries read these when they are loaded, so a process of its own has to begin with them.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | AVX2)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    facts = {"machine": describe(), "kernels": load()[1]}
    print("; ".join(facts.values()), flush=True)
    results: dict[str, Any] = dict(facts)
    for name in arguments.only:
        results[name] = list(TABLES[name]())
        print(
            f"\n{(TABLES[name].__doc__ or '').splitlines()[0]}\n\n{table(results[name])}",
            flush=True,
        )
    if arguments.figure:
        results["curves"] = curves(arguments.figure)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
