"""What is replied: in bookings and orders, where the reply can be known, and in small talk.

    pip install x-transformers
    python benchmarks/replies.py --data DIR --json replies.json      # 15 minutes a row; resumable

DIR holds sets of task dialogues, each a folder with train.jsonl.gz and test.jsonl.gz of turns (the
Schema-Guided Dialogues and Taskmaster-4's coffee orders were used); the small talk is the built-in
one, with its own test part. Each contender learns in the same minutes, everything included, and
replies in 200 places of what is held out, drawn by seed: Elman from nothing and from the base, in
each of its ways to reply, and the Transformer of peers.py, which takes the likeliest token each
time. `untouched` is the base as it is. `known` is the share of real replies that stand word for
word in the training part; `cost` is how many bits a byte of what is said is worth to the net
itself.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import runs
import torch
from machine import describe
from minutes import best, hidden_states, parts, peer_trained
from peers import PEERS, Network
from torch.nn import functional as F

from elman.bptt import State
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.data.source import BUILT_IN
from elman.data.tokenizer import END, ROLES, Tokenizer
from elman.evaluate.choices import candidates, hits, hits_by_likelihood
from elman.evaluate.measures import FEW_CANDIDATES, MANY_CANDIDATES, MEASURED_REPLIES
from elman.evaluate.texts import (
    Copies,
    Pair,
    bleu,
    distinct,
    repeated,
    reply_in,
)
from elman.generate import index_files
from elman.generate.likelihood import Tokens, likelihoods, log_likelihoods
from elman.generate.network import load_network_bot
from elman.generate.penalties import History
from elman.generate.positions import draw_positions, states_at
from elman.generate.replier import Replier, ReplyFrom
from elman.generate.rerank import Ranking
from elman.generate.sampling import SamplingParams
from elman.generate.scoring import bits_per_byte
from elman.train import Config, train


@dataclass(frozen=True)
class Task:
    """One set.

    Args:
        who: the name of who answers in it; None: both.
        starts: what is measured. The base has learned from the coffee orders that are held out
            here; of the small talk it has learned the rest, and is measured as it is.
    """

    who: str | None
    starts: tuple[str, ...]

    @property
    def learn_from(self) -> str:
        return "all" if self.who is None else "bot"


SETS = {
    "sgd": Task("system", ("none", "base", "transformer")),
    "taskmaster4_coffee": Task("assistant", ("none", "transformer")),
    BUILT_IN: Task(None, ("none", "untouched", "transformer")),
}

WAYS: dict[str, tuple[ReplyFrom, SamplingParams, int]] = {
    "likeliest": ("generate", SamplingParams(temperature=0, seed=0), 1),
    "first drawn": ("generate", SamplingParams(seed=0), 1),
    "best of 8": ("generate", SamplingParams(seed=0), 8),
    "people's": ("data", SamplingParams(seed=0), 8),
    "best of both": ("best", SamplingParams(seed=0), 8),
}


def source(data: Path, name: str, part: str) -> str:
    return name if name == BUILT_IN else str(data / name / f"{part}.jsonl.gz")


def heldout(data: Path, name: str, tokenizer: Tokenizer) -> Corpus:
    who = SETS[name].who
    dataset = Dataset.read(source(data, name, "test"), bot=who)
    if name == BUILT_IN:
        return dataset.encode(tokenizer, True)[0]["test"]
    return Corpus.encode(dataset.conversations(), tokenizer, who)


def texts(data: Path, name: str) -> list[str]:
    """What is learned to be said."""
    dataset = Dataset.read(source(data, name, "train"), bot=SETS[name].who)
    return [
        turn.text
        for part, each in dataset.parts(name == BUILT_IN)
        if part == "train" or name != BUILT_IN
        for turn in each.turns(dataset.bot)
        if SETS[name].who is None or turn.role == "bot"
    ]


def rates(pairs: Sequence[Pair], learned: Sequence[str]) -> dict[str, float]:
    ours, theirs = [pair.bot for pair in pairs], [pair.person for pair in pairs]
    return {
        "exact_match": sum(pair.exact for pair in pairs) / len(pairs),
        "bleu": bleu(pairs),
        "distinct_2": distinct(ours, 2),
        "distinct_2_people": distinct(theirs, 2),
        "repeated_replies": repeated(ours),
        "repeated_replies_people": repeated(theirs),
        "people_in_training": sum(Copies(theirs, learned).whole) / len(theirs),
    }


def elman_run(data: Path, name: str, start: str, minutes: float) -> dict[str, Any]:
    """Every way to reply of one bot."""
    task, learned = SETS[name], texts(data, name)
    with tempfile.TemporaryDirectory() as out:
        path = "base"
        if start != "untouched":
            path = out
            settings = {
                "data": {
                    "path": source(data, name, "train"),
                    "bot": task.who,
                    "learn_from": task.learn_from,
                    "test": name == BUILT_IN,
                },
                "train": {"minutes": minutes, "base": None if start == "none" else start},
            }
            train(Config.make(settings), Path(out))
        bot = load_network_bot(path)
        index = None if path == "base" else index_files.known(bot, print)
    corpus = heldout(data, name, bot.tokenizer)
    places = draw_positions(corpus, task.learn_from, MEASURED_REPLIES, 0)
    state = states_at(bot.decoder, corpus, places)
    choices = likelihoods(
        bot.decoder, state, candidates(corpus, places, task.learn_from, MANY_CANDIDATES, 0)
    )
    of_bot = {
        "hits_at_1_likelihood": float(hits_by_likelihood(choices, FEW_CANDIDATES).mean()),
        "bits_per_byte": bits_per_byte(bot.decoder, corpus, bot.tokenizer, task.learn_from),
        "mutual": Ranking.of(bot.config).mmi_weight,
    }
    found = {}
    for way, (reply_from, sampling, samples) in WAYS.items():
        if reply_from != "generate" and index is None:
            continue
        nats: list[float] = []
        ranking = Ranking.of(bot.config, samples=samples)
        replier = Replier(bot, sampling, ranking, reply_from, index)
        respond = partial(replier.replies, generator=sampling.generator())

        def priced(
            state: State,
            histories: Sequence[History],
            respond: Any = respond,
            nats: list[float] = nats,
        ) -> list[Tokens]:
            said: list[Tokens] = respond(state, histories)
            nats += (-log_likelihoods(bot.decoder, said, state, range(len(said)))).tolist()
            return said

        pairs = reply_in(places, state, corpus, bot.tokenizer, priced)
        said_bytes = sum(len(pair.bot.encode()) for pair in pairs)
        found[way] = {
            **rates(pairs, learned),
            **of_bot,
            "cost": sum(nats) / log(2) / said_bytes,
            "hits_at_1": float(hits(choices, FEW_CANDIDATES).mean()),
        }
    return found


def peer_run(data: Path, name: str, minutes: float) -> dict[str, Any]:
    started, task = time.monotonic(), SETS[name]
    peer = PEERS["transformer"]
    tokenizer, corpora = parts(peer.vocabulary, source(data, name, "train"), task.who)
    model, _ = peer_trained(
        peer,
        best("transformer"),
        minutes,
        0,
        corpora["train"],
        tokenizer,
        started,
        task.learn_from,
    )
    corpus = heldout(data, name, tokenizer)
    places = draw_positions(corpus, task.learn_from, MEASURED_REPLIES, 0)
    # What is answered is known by place: a state that only counts lanes is all that is needed.
    at = iter(places)

    def respond(state: State, histories: Sequence[History]) -> list[list[int]]:
        return [likeliest(model, corpus, next(at)) for _ in state[0]]

    pairs = reply_in(places, (torch.zeros(len(places), 1),), corpus, tokenizer, respond)
    found = {"hits_at_1_likelihood": peer_hits(model, corpus, places, task.learn_from)}
    return {"likeliest": rates(pairs, texts(data, name)) | found}


@torch.no_grad()
def likeliest(model: Network, corpus: Corpus, place: Any, longest: int = 60) -> list[int]:
    history = corpus.messages(place.conversation)[: place.position]
    ids = [*np.concatenate(history).astype(int).tolist(), ROLES["bot"]]
    begin = len(ids)
    while len(ids) < begin + longest:
        recent = torch.tensor(ids if model.block is None else ids[-model.block :])
        token = int(model.logits(hidden_states(model, recent)[-1]).argmax())
        if token == END:
            break
        ids.append(token)
    return ids[begin:]


@torch.no_grad()
def peer_hits(model: Network, corpus: Corpus, places: Any, learn_from: str) -> float:
    """By likelihood per token, as the peer has nothing to take off."""
    found = []
    for place, replies in zip(
        places, candidates(corpus, places, learn_from, MANY_CANDIDATES, 0), strict=True
    ):
        history = np.concatenate(corpus.messages(place.conversation)[: place.position])
        scores = []
        for reply in replies[:FEW_CANDIDATES]:
            ids = torch.tensor([*history.astype(int).tolist(), ROLES["bot"], *reply, END])
            # A block before the reply is all that a Transformer of this block looks at.
            ids = ids[-(len(reply) + 2 + (model.block or len(ids))) :]
            hidden = hidden_states(model, ids[:-1])[-len(reply) - 1 :]
            cost = F.cross_entropy(model.logits(hidden), ids[-len(reply) - 1 :])
            scores.append(float(cost))
        found.append(int(np.argmin(scores)) == 0)
    return float(np.mean(found))


def main() -> None:
    options = runs.parser(__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    starts = ["none", "base", "untouched", "transformer"]
    options.add_argument("--only", nargs="+", choices=starts, default=starts)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), "\n", flush=True)
    finished = runs.Finished(arguments.json)
    heads = "set | from | reply | exact | BLEU | hits@1 of 10 | by likelihood | distinct-2 | "
    heads += "repeated | cost"
    print(f"| {heads} |\n|{'---|' * 10}")
    for name in arguments.sets:
        row: dict[str, Any] = {}
        for start in arguments.only:
            if start not in SETS[name].starts:
                continue
            key = f"{name} {start} {arguments.minutes:g}"
            run = (
                partial(peer_run, arguments.data, name, arguments.minutes)
                if start == "transformer"
                else partial(elman_run, arguments.data, name, start, arguments.minutes)
            )
            for way, row in finished.get(key, run).items():
                print(
                    f"| {name} | {start} | {way} | {row['exact_match']:.1%} | {row['bleu']:.1f} | "
                    f"{_share(row.get('hits_at_1'))} | {_share(row['hits_at_1_likelihood'])} | "
                    f"{row['distinct_2']:.3f} | {_share(row['repeated_replies'])} | "
                    f"{_number(row.get('cost'))} |",
                    flush=True,
                )
        if row:
            print(
                f"| {name} | | people | known: {_share(row['people_in_training'])} | | | | "
                f"{row['distinct_2_people']:.3f} | {_share(row['repeated_replies_people'])} | |",
                flush=True,
            )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


if __name__ == "__main__":
    main()
