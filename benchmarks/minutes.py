"""Minutes to quality: held-out bits per byte after the same minutes, Elman and what else there is.

    pip install x-transformers minGRU-pytorch xlstm     # the peers
    python benchmarks/minutes.py --search --threads 1   # every contender's trials, 3 minutes each
    python benchmarks/minutes.py                        # 1, 3 and 10 minutes with what was found

Everything learns from the built-in conversations, from nothing, and is scored on their test part,
on bare message text; trials are chosen by the dev part. Minutes include reading, learning a
vocabulary and encoding. Finished runs are kept in --json, and what the search found beside this
file, so an interrupted run goes on.
"""

import json
import tempfile
import time
from functools import partial
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import runs
import torch
from machine import describe
from peers import PEERS, Network, Peer
from torch import Tensor, nn
from torch.nn import functional as F

from elman.bptt.precision import MIN_BFLOAT16_SPEEDUP, bfloat16_speed
from elman.data.corpus import Corpus, scored
from elman.data.dataset import Dataset
from elman.data.layout import Layout
from elman.data.source import BUILT_IN
from elman.data.stream import Stream
from elman.data.tokenizer import MAX_LEARNED_BYTES, Tokenizer
from elman.generate.network import NetworkBot, load_network_bot
from elman.generate.scoring import bits_per_byte
from elman.train import Config, train
from elman.train.schedule import rate

FOUND = Path(__file__).with_name("minutes_search.json")
WARMUP = 0.02
OVERLAP = 2
"""A block of a network without a state begins half of it before what is predicted."""

ELMAN: tuple[dict[str, Any], ...] = (
    {},
    {"train": {"lr": 4e-3}},
    {"model": {"hidden_size": 320}},
)
"""Elman's trials: its recipe, and what could be better."""


def parts(
    vocabulary: int, source: str = BUILT_IN, bot: str | None = None
) -> tuple[Tokenizer, dict[str, Corpus]]:
    dataset = Dataset.read(source, bot=bot, keep=True)
    tokenizer = Tokenizer.train(dataset.texts(True, MAX_LEARNED_BYTES), vocabulary)
    return tokenizer, dataset.encode(tokenizer, True)[0]


def peer_run(peer: Peer, trial: dict[str, Any], minutes: float, seed: int) -> dict[str, Any]:
    started = time.monotonic()
    tokenizer, corpora = parts(peer.vocabulary)
    model, steps = peer_trained(peer, trial, minutes, seed, corpora["train"], tokenizer, started)
    bits = {part: round(peer_bits(model, corpora[part], tokenizer), 4) for part in ("dev", "test")}
    return {**bits, "steps": steps, "parameters": sum(p.numel() for p in model.parameters())}


def peer_trained(
    peer: Peer,
    trial: dict[str, Any],
    minutes: float,
    seed: int,
    corpus: Corpus,
    tokenizer: Tokenizer,
    started: float,
    learn_from: str = "all",
) -> tuple[Network, int]:
    """A peer that has learned until so many minutes after `started`, and its steps."""
    torch.manual_seed(seed)
    model = peer.make(tokenizer.vocabulary_size, **trial["network"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=trial["lr"], betas=(0.9, 0.99), fused=True)
    layout = Layout(trial["lanes"], trial["window"], "steps", learn_from=learn_from, seed=seed)
    stream = Stream(corpus, layout)
    low = peer.low and bfloat16_speed() >= MIN_BFLOAT16_SPEEDUP
    state, steps = None, 0
    model.train()
    while (spent := (time.monotonic() - started) / (60 * minutes)) < 1:
        window = stream.next()
        counts = window.weight > 0
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            hidden, state = model(window.inputs, state)
            logits = model.logits(hidden[counts])
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), window.targets[counts]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = trial["lr"] * rate(spent, WARMUP)
        optimizer.step()
        steps += 1
    return model.eval(), steps


@torch.no_grad()
def peer_bits(model: Network, corpus: Corpus, tokenizer: Tokenizer) -> float:
    nats, text_bytes = 0.0, 0
    for index in range(len(corpus)):
        tokens = corpus[index]
        ids = torch.from_numpy(tokens.astype(np.int64))
        counts = torch.from_numpy(scored(tokens, "all"))[1:]
        hidden = hidden_states(model, ids[:-1])
        for h, target in zip(hidden[counts].split(1024), ids[1:][counts].split(1024), strict=True):
            nats += F.cross_entropy(model.logits(h), target, reduction="sum").item()
        text_bytes += int(tokenizer.piece_bytes[tokens].sum())
    return nats / log(2) / text_bytes


def hidden_states(model: Network, ids: Tensor) -> Tensor:
    """Of one conversation, (T, H): at once, or in blocks that overlap."""
    if model.block is None:
        whole: Tensor = model(ids.unsqueeze(1))[0][:, 0]
        return whole
    block, stride = model.block, model.block // OVERLAP
    found = [model(ids[:block].unsqueeze(1))[0][:, 0]]
    done = len(found[0])
    while done < len(ids):
        begin = done + stride - block
        hidden = model(ids[begin : begin + block].unsqueeze(1))[0][:, 0]
        found.append(hidden[done - begin :])
        done += len(found[-1])
    return torch.cat(found)


def elman_trained(trial: dict[str, Any], minutes: float, seed: int) -> tuple[NetworkBot, int]:
    """A bot that has learned for so many minutes, and its steps."""
    values: dict[str, Any] = {
        "data": {"path": BUILT_IN, "test": True, "replies": 0} | trial.get("data", {}),
        "model": trial.get("model", {}),
        "train": {"minutes": minutes, "seed": seed, "base": "none"} | trial.get("train", {}),
        "reply": {"mmi_weight": 1.0},
    }
    with tempfile.TemporaryDirectory() as folder:
        result = train(Config.make(values), Path(folder))
        return load_network_bot(folder), result.steps


def elman_run(trial: dict[str, Any], minutes: float, seed: int) -> dict[str, Any]:
    bot, steps = elman_trained(trial, minutes, seed)
    corpora, _ = Dataset.read(BUILT_IN).encode(bot.tokenizer, True)
    bits = {
        part: round(bits_per_byte(bot.decoder, corpora[part], bot.tokenizer, "all"), 4)
        for part in ("dev", "test")
    }
    bot.chatbot.ngrams = None
    alone = round(bits_per_byte(bot.decoder, corpora["test"], bot.tokenizer, "all"), 4)
    parameters = sum(p.numel() for p in bot.chatbot.parameters())
    return {**bits, "alone": alone, "steps": steps, "parameters": parameters}


def run(name: str, trial: dict[str, Any], minutes: float, seed: int) -> dict[str, Any]:
    if name == "elman":
        return elman_run(trial, minutes, seed)
    return peer_run(PEERS[name], trial, minutes, seed)


def search(names: list[str], minutes: float) -> None:
    """Every contender's trials, one seed each; the best by the dev part is what is run."""
    found: dict[str, Any] = json.loads(FOUND.read_text("utf-8")) if FOUND.exists() else {}
    for name in names:
        trials = ELMAN if name == "elman" else PEERS[name].trials
        done = found.setdefault(name, [])
        for trial in trials[len(done) :]:
            how = {"trial": trial, "minutes": minutes, "threads": torch.get_num_threads()}
            done.append(how | run(name, trial, minutes, 0))
            print(name, json.dumps(done[-1]), flush=True)
            FOUND.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def best(name: str) -> dict[str, Any]:
    """The trial that was best on the dev part; the first one, where none was searched."""
    found = json.loads(FOUND.read_text("utf-8")) if FOUND.exists() else {}
    trials = found.get(name)
    if not trials:
        return ELMAN[0] if name == "elman" else PEERS[name].trials[0]
    trial: dict[str, Any] = min(trials, key=lambda each: each["dev"])["trial"]
    return trial


def _means(found: list[list[dict[str, Any]]], what: str) -> str:
    """Of the seeds, for each number of minutes."""
    means = (sum(each[what] for each in seeds) / len(seeds) for seeds in found)
    return "".join(f" {mean:.3f} |" for mean in means)


def main() -> None:
    names = ["elman", *PEERS]
    options = runs.parser(__doc__)
    options.add_argument("--minutes", type=float, nargs="+", default=[1.0, 3.0, 10.0])
    options.add_argument("--only", nargs="+", choices=names, default=names)
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    options.add_argument("--search", action="store_true", help="run the trials instead")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), "\n", flush=True)
    if arguments.search:
        return search(arguments.only, 3.0)
    finished = runs.Finished(arguments.json)
    head = "".join(f" {minutes:g} min |" for minutes in arguments.minutes)
    print(f"| model | parameters |{head}\n|---|---|{'---|' * len(arguments.minutes)}")
    for name in arguments.only:
        found = [
            [
                finished.get(
                    f"{name} {minutes:g} {seed}", partial(run, name, best(name), minutes, seed)
                )
                for seed in arguments.seeds
            ]
            for minutes in arguments.minutes
        ]
        size = f"{found[-1][-1]['parameters'] / 1e6:.1f}M"
        title = "Elman" if name == "elman" else PEERS[name].title
        print(f"| {title} | {size} |{_means(found, 'test')}", flush=True)
        if name == "elman":
            print(f"| its net alone, without what it counted | |{_means(found, 'alone')}")
    return None


if __name__ == "__main__":
    main()
