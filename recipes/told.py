"""Learn what asks for what the user told, and which line answers.

told.jsonl holds sets that were written for it: lines that a person says, a question for one of
them, and the numbers of the lines that answer it (none: it was not told; null: the question asks
for nothing of the kind). phrasings/asked.txt holds more ways to ask, and what people say in talk/
mostly asks for nothing. recipes/written.py uses it.
"""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from talk import conversations, file_of, is_measured

from elman.generate.exchanges import Exchanges
from elman.generate.penalties import History
from elman.generate.told import (
    ASKING_BUCKETS,
    ASKING_TRAITS,
    LINE_TRAITS,
    AskingWords,
    ToldFinder,
    ToldRanking,
    asking_buckets,
    told_lines,
)
from elman.generate.written import nears_of

FOLDER = Path(__file__).parent
TOLD = FOLDER / "told.jsonl"

ASKED_PHRASINGS = FOLDER / "phrasings" / "asked.txt"
"""Ways in which users ask for what they may have told, one a line."""

REMEMBERING = ("memory", "plain-memory")
"""Files in which users ask for what they told, and replies repeat it."""

CHATS = "chat-"
"""How the name of a file begins in which users go on and ask, but for nothing that they told."""

FOLDS = 5
"""Parts of the sets: what `AskingWords` says of one was learned from the others, and from all talk
but the messages in it.
"""

PENALTY = 1e-3
"""Of the squares of the regression's weights."""

WORDS_PENALTY = 3e-6
"""Of the squares of the weights of words."""

SETS_WEIGHT, REMEMBERING_WEIGHT = 2.0, 0.5
"""What a set counts, and a line of `REMEMBERING`, beside a line of other talk."""

_OWN = re.compile(r"\b(?:i|my|me|mine)\b", re.IGNORECASE)


class ToldSet(NamedTuple):
    """Lines that somebody told, and what is asked then.

    Args:
        told: the first one first.
        asked: the last message.
        lines: which of them, from 0, answer it; none: it was not told; None: it asks for nothing
            that could be told.
    """

    told: list[str]
    asked: str
    lines: list[int] | None


class Asked(NamedTuple):
    """A message, and whether it asks for what was told; how much it counts."""

    text: str
    asks: bool
    weight: float = 1.0


class Example(NamedTuple):
    """What is known of a set.

    Args:
        lines: (N, traits) of the sentences.
        asking: (traits,) of the question.
        right: (N + 2,) bool, of what is right: a sentence, nothing told, nothing asked.
    """

    lines: np.ndarray
    asking: np.ndarray
    right: np.ndarray


def sets() -> Iterator[ToldSet]:
    """Read the sets that were written."""
    with TOLD.open(encoding="utf-8") as lines:
        for line in lines:
            one = json.loads(line)
            numbers = one["lines"]
            answers = None if numbers is None else [number - 1 for number in numbers]
            yield ToldSet(one["told"], one["asked"], answers)


def sets_of_talk() -> Iterator[ToldSet]:
    """Take the later questions of chats, which ask for nothing that was told before."""
    for id_, turns in conversations():
        if file_of(id_).startswith(CHATS) and not is_measured(id_):
            said = [turn.text for turn in turns[::2]]
            yield from (
                ToldSet(said[:n], text, None) for n, text in enumerate(said) if n and "?" in text
            )


def asked_elsewhere() -> list[Asked]:
    """Collect messages from outside the sets."""
    found = {text: Asked(text, True) for text in ASKED_PHRASINGS.read_text("utf-8").splitlines()}
    for id_, turns in conversations():
        if is_measured(id_):
            continue
        for text in (turn.text for turn in turns[::2]):
            if not file_of(id_).startswith(REMEMBERING):
                found.setdefault(text, Asked(text, False))
            elif "?" in text and _OWN.search(text):
                found.setdefault(text, Asked(text, True, REMEMBERING_WEIGHT))
    return list(found.values())


def learn_asking(messages: Sequence[Asked]) -> AskingWords:
    """Learn by which words a message asks for what was told."""
    buckets = [asking_buckets(each.text) for each in messages]
    sizes = torch.tensor([len(own) for own in buckets])
    flat = torch.tensor([bucket for own in buckets for bucket in own])
    rows = torch.repeat_interleave(torch.arange(len(buckets)), sizes)
    wanted = torch.tensor([float(each.asks) for each in messages])
    counts = torch.tensor([each.weight for each in messages])
    weights = torch.zeros(ASKING_BUCKETS + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        sums = torch.zeros(len(buckets)).index_add(0, rows, weights[flat])
        logits = sums / sizes.sqrt() + weights[-1]
        found = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, counts)
        found = found + WORDS_PENALTY * weights[:-1].square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    *of_words, bias = weights.detach().numpy()
    return AskingWords(np.array(of_words, np.float16), float(bias))


def example_of(given: ToldSet, exchanges: Exchanges, asking: AskingWords) -> Example | None:
    """Tell the traits of a set; None where what answers cannot be said back."""
    heard = [given.asked, *reversed(given.told)]
    [near] = nears_of(exchanges, [History(heard, (), given.asked, True)], [[]])
    lines = told_lines(heard[1:])
    finder = ToldFinder(exchanges, asking, UNRANKED)
    wanted = {len(given.told) - 1 - n for n in given.lines or []}
    right = [each.line in wanted for each in lines]
    if wanted and not any(right):
        return None
    right += [given.lines == [], given.lines is None]
    return Example(*finder.traits(given.asked, near, lines), np.array(right))


UNRANKED = ToldRanking(
    lines=[0.0] * len(LINE_TRAITS),
    told=[0.0] * len(ASKING_TRAITS),
    untold=[0.0] * len(ASKING_TRAITS),
    bias=0.0,
)


def learn_ranking(examples: Sequence[Example], bias: float) -> ToldRanking:
    """Learn the regression: the right ones together shall be likely."""
    number, most = len(examples), max(len(each.lines) for each in examples)
    lines = np.zeros((number, most, len(LINE_TRAITS)))
    there, right = np.zeros((number, most), bool), np.zeros((number, most + 2), bool)
    for n, each in enumerate(examples):
        count = len(each.lines)
        lines[n, :count], there[n, :count] = each.lines, True
        right[n, :count], right[n, most:] = each.right[:-2], each.right[-2:]
    spread = lines[there].std(0).clip(1e-6)
    scaled = torch.from_numpy(lines / spread)
    asking = torch.from_numpy(np.stack([each.asking for each in examples]))
    absent, wanted = torch.from_numpy(~there), torch.from_numpy(right)
    sizes = [len(LINE_TRAITS), len(ASKING_TRAITS), len(ASKING_TRAITS)]
    weights = torch.zeros(sum(sizes), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        of_lines, told, untold = weights.split(sizes)
        scores = (scaled @ of_lines + (asking @ told)[:, None]).masked_fill(absent, -torch.inf)
        others = torch.stack([asking @ untold, torch.zeros(number, dtype=torch.float64)], 1)
        logs = torch.cat([scores, others], 1).log_softmax(1)
        found = -logs.masked_fill(~wanted, -torch.inf).logsumexp(1).mean()
        found = found + PENALTY * weights.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    of_lines, told, untold = (each.detach().numpy().tolist() for each in weights.split(sizes))
    return ToldRanking(
        lines=(np.array(of_lines) / spread).tolist(), told=told, untold=untold, bias=bias
    )


def right_shares(ranking: ToldRanking, examples: Sequence[Example]) -> dict[str, float]:
    """Return how often what is likeliest is right: where it was told, where it was not, and where
    nothing of the kind is asked.
    """
    right: dict[str, list[bool]] = {"told": [], "untold": [], "nothing": []}
    for each in examples:
        kind = "untold" if each.right[-2] else "nothing" if each.right[-1] else "told"
        sense = ranking(each.lines, each.asking)
        right[kind].append(bool(each.right[sense.argmax()]))
    return {kind: float(np.mean(own)) for kind, own in right.items() if own}


def learn_told(exchanges: Exchanges) -> tuple[AskingWords, ToldRanking]:
    """Learn both; tell how right they are on a fifth of the sets that they did not learn from."""
    elsewhere, every = asked_elsewhere(), [*sets(), *sets_of_talk()]
    own = [Asked(each.asked, each.lines is not None, SETS_WEIGHT) for each in every]
    folds: list[list[Example]] = []
    for fold in range(FOLDS):
        rest = [each for n, each in enumerate(own) if n % FOLDS != fold]
        held = {each.asked for each in every[fold::FOLDS]}
        asking = learn_asking([each for each in (*elsewhere, *rest) if each.text not in held])
        found = (example_of(each, exchanges, asking) for each in every[fold::FOLDS])
        folds.append([each for each in found if each is not None])
    asking = learn_asking([*elsewhere, *own])
    tried, *others = folds
    shares = right_shares(learn_ranking([*chain.from_iterable(others)], asking.bias), tried)
    print(f"told: right in {', '.join(f'{each:.0%} of {kind}' for kind, each in shares.items())}")
    return asking, learn_ranking([*chain.from_iterable(folds)], asking.bias)
