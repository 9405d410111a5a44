"""What is replied where the reply can be known: bookings and orders, held out.

    pip install x-transformers
    python benchmarks/replies.py --data DIR --json replies.json      # 40 minutes a set; resumable

DIR holds sets of task dialogues, each a folder with train.jsonl.gz and test.jsonl.gz of turns (the
Schema-Guided Dialogues and Taskmaster-4's coffee orders were used). Each contender learns from the
training file in the same minutes, everything included, and replies in 200 places of the test file,
drawn by seed: Elman from nothing and from the base, in each of its ways to reply, and the
Transformer of peers.py, which takes the likeliest token each time. `known` is the share of real
replies that stand word for word in the training file.
"""

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe
from minutes import best, hidden_states, parts, peer_trained
from peers import PEERS, Network
from torch.nn import functional as F

from elman.chat.replies import Replier, ReplyFrom
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.data.tokenizer import END, ROLES
from elman.evaluate.choices import candidates
from elman.evaluate.measures import FEW, MANY, REPLIES, evaluate
from elman.evaluate.replies import Copies, bleu, distinct, draw_places, repeated, reply_in
from elman.model import retrieval
from elman.model.checkpoint import load_bot
from elman.model.decoding import Sampling
from elman.model.ranking import Ranking
from elman.train import Config, train

SETS = {"sgd": "system", "taskmaster4_coffee": "assistant"}
"""Each with the name of who answers in it."""

IN_THE_BASE = ("taskmaster4_coffee",)
"""The base has learned from the test file of these too."""

WAYS: dict[str, tuple[ReplyFrom, Sampling, Ranking]] = {
    "likeliest": ("generate", Sampling(temperature=0, seed=0), Ranking(samples=1)),
    "first drawn": ("generate", Sampling(seed=0), Ranking(samples=1)),
    "best of 8": ("generate", Sampling(seed=0), Ranking()),
    "people's": ("data", Sampling(seed=0), Ranking()),
    "best of both": ("best", Sampling(seed=0), Ranking()),
}

KEYS = (
    "exact_match",
    "bleu",
    "hits_at_1",
    "hits_at_1_likelihood",
    "distinct_2",
    "distinct_2_people",
    "repeated_replies",
    "repeated_replies_people",
    "people_in_training",
)


def elman_run(folder: Path, who: str, base: str | None, minutes: float) -> dict[str, Any]:
    """Every way to reply of one bot."""
    found = {}
    with tempfile.TemporaryDirectory() as out:
        data = {"path": str(folder / "train.jsonl.gz"), "bot": who, "learn_from": "bot"}
        settings = {"minutes": minutes, "base": base}
        train(Config.make({"data": data, "train": settings}), Path(out))
        bot = load_bot(out)
        index = retrieval.known(bot, Ranking().mutual, print)
        test = Dataset(str(folder / "test.jsonl.gz"), bot=who)
        corpus = Corpus.encode(test.conversations(), bot.tokenizer, who)
        for name, (source, sampling, ranking) in WAYS.items():
            replier = Replier(bot, sampling, ranking, source, index)
            measured = evaluate(
                bot,
                corpus,
                "bot",
                respond=partial(replier.replies, generator=sampling.generator()),
                training=texts(folder, who),
                mutual=ranking.mutual,
            )
            found[name] = {key: measured.report.to_json()[key] for key in KEYS}
            found[name]["bits_per_byte"] = measured.report.bits_per_byte
    return found


def texts(folder: Path, who: str) -> list[str]:
    """What the bot's side says in the training file."""
    every = Dataset(str(folder / "train.jsonl.gz"), bot=who).conversations()
    return [turn.text for each in every for turn in each.turns(who) if turn.role == "bot"]


def peer_run(folder: Path, who: str, minutes: float) -> dict[str, Any]:
    started = time.monotonic()
    peer = PEERS["transformer"]
    tokenizer, corpora = parts(peer.vocabulary, str(folder / "train.jsonl.gz"), who)
    corpus = corpora["train"]
    model, _ = peer_trained(
        peer, best("transformer"), minutes, 0, corpus, tokenizer, started, "bot"
    )
    test = Dataset(str(folder / "test.jsonl.gz"), bot=who)
    heldout = Corpus.encode(test.conversations(), tokenizer, who)
    places = draw_places(heldout, "bot", REPLIES, 0)
    # What is answered is known by place: a state that only counts lanes is all that is needed.
    at = iter(places)

    def respond(state: tuple[torch.Tensor, ...]) -> list[list[int]]:
        return [likeliest(model, heldout, next(at)) for _ in state[0]]

    pairs = reply_in(places, (torch.zeros(len(places), 1),), heldout, tokenizer, respond)
    ours, theirs = [pair.bot for pair in pairs], [pair.person for pair in pairs]
    return {
        "likeliest": {
            "exact_match": sum(pair.exact for pair in pairs) / len(pairs),
            "bleu": bleu(pairs),
            "hits_at_1_likelihood": hits(model, heldout, places),
            "distinct_2": distinct(ours, 2),
            "distinct_2_people": distinct(theirs, 2),
            "repeated_replies": repeated(ours),
            "repeated_replies_people": repeated(theirs),
            "people_in_training": sum(Copies(theirs, texts(folder, who)).whole) / len(theirs),
        }
    }


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
def hits(model: Network, corpus: Corpus, places: Any) -> float:
    """By likelihood per token, as the peer has nothing to take off."""
    found = []
    for place, replies in zip(places, candidates(corpus, places, "bot", MANY, 0), strict=True):
        history = np.concatenate(corpus.messages(place.conversation)[: place.position])
        scores = []
        for reply in replies[:FEW]:
            ids = torch.tensor([*history.astype(int).tolist(), ROLES["bot"], *reply, END])
            # A block before the reply is all that a Transformer of this block looks at.
            ids = ids[-(len(reply) + 2 + (model.block or len(ids))) :]
            hidden = hidden_states(model, ids[:-1])[-len(reply) - 1 :]
            cost = F.cross_entropy(model.logits(hidden), ids[-len(reply) - 1 :])
            scores.append(float(cost))
        found.append(int(np.argmin(scores)) == 0)
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--only", nargs="+", default=["none", "base", "transformer"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="keep finished runs here, and go on with them")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), "\n", flush=True)
    done: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():
        done = json.loads(arguments.json.read_text("utf-8"))
    heads = (
        "set | from | reply | exact | BLEU | hits@1 of 10 | by likelihood | distinct-2 | repeated"
    )
    print(f"| {heads} |\n|{'---|' * 9}")
    for name in arguments.sets:
        folder, who = arguments.data / name, SETS[name]
        known = people = ""
        for start in arguments.only:
            if start == "base" and name in IN_THE_BASE:
                continue
            key = f"{name} {start} {arguments.minutes:g}"
            if key not in done:
                base = "base" if start == "base" else None
                done[key] = (
                    peer_run(folder, who, arguments.minutes)
                    if start == "transformer"
                    else elman_run(folder, who, base, arguments.minutes)
                )
                if arguments.json:
                    arguments.json.write_text(json.dumps(done, indent=1) + "\n", "utf-8")
            for way, row in done[key].items():
                hit = row.get("hits_at_1")
                print(
                    f"| {name} | {start} | {way} | {row['exact_match']:.1%} | {row['bleu']:.1f} | "
                    f"{'-' if hit is None else f'{hit:.1%}'} | {row['hits_at_1_likelihood']:.1%} | "
                    f"{row['distinct_2']:.3f} | {row['repeated_replies']:.1%} |",
                    flush=True,
                )
                known = f"{row['people_in_training']:.1%}"
                people = f"{row['distinct_2_people']:.3f} | {row['repeated_replies_people']:.1%}"
        print(f"| {name} | | people | known: {known} | | | | {people} |", flush=True)


if __name__ == "__main__":
    main()
