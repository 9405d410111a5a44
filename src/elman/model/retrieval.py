"""Replies that were really given, found by the state of the conversation in which they were.

Where a bot must not invent, it says what somebody said. The state after a message is compared with
the states in which the known replies were given; the net then ranks the replies of the nearest as
it ranks its own (`elman.model.ranking`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from elman.bptt import State
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.data.source import fingerprint
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.model.chatbot import Chatbot
from elman.model.checkpoint import BASE, Bot, made_by, read_tensors, write_tensors
from elman.model.places import draw_places, states_at
from elman.model.ranking import Candidate, Likelihoods, Tokens, log_likelihoods, ranked
from elman.model.scoring import counts, states_before

REPLIES = "replies.safetensors"
FORMAT = 1

DIRECTIONS = 128
"""Numbers that are kept of a state: its main directions. A choice; fewer or more were not tried."""

NEAREST = 16
"""Different replies that the net ranks."""

MOST = 20_000
"""Replies that are kept."""

LONGEST = 200
"""Tokens of a reply; longer ones are not kept."""

CALIBRATION = 200
"""Held-out places on which it is counted how often a reply of some score is wrong."""

FIT = 4096
"""States from which the directions are computed."""

RIGHT = 0.5
"""Share of words in common with the real reply (F1) from which a reply counts as right."""


UNLIKE, FARTHER = 0.02, 2.0
"""An answer is not dared where the nearest known place is twice as far as it is for all but 2 % of
the held-out places: nothing like it was ever asked.
"""


class Near(NamedTuple):
    """Different replies of the places nearest to a state, by number, and how much the nearest of
    them is like it: the cosine of the angle between them.
    """

    replies: list[int]
    alike: float


class Known(NamedTuple):
    """What could be answered, the best first, and how much the nearest known place is like it."""

    candidates: list[Candidate]
    alike: float


class Bound(NamedTuple):
    """What the score of an answer, and the likeness of the nearest known place, must reach."""

    score: float
    alike: float

    def reached(self, score: float, alike: float) -> bool:
        return score >= self.score and alike >= self.alike


@dataclass(frozen=True)
class ReplyIndex:
    """Known replies, and where they were given.

    Args:
        centre: of the states, (S,), which are all the numbers of a state side by side.
        directions: (S, D) of the centred states, what is kept of them.
        places: (N, D) float16, of length 1: where replies were given.
        reply: (N,) int32, which of the different replies was given there.
        replies: different replies, R of them, without END.
        alone: (R,) float64, log p of each where nothing was said before, in nats.
        calibration: (3, C) of held-out places: the score of what is answered there, rising; whether
            it was right; and how much the nearest place is like it.
    """

    centre: Tensor
    directions: Tensor
    places: Tensor
    reply: Tensor
    replies: list[Tokens]
    alone: Tensor
    calibration: Tensor

    def nearest(self, chatbot: Chatbot, state: State, number: int = NEAREST) -> list[Near]:
        """For each lane of a state the different replies of the nearest places, nearest first."""
        vectors = (_flat(chatbot, state) - self.centre) @ self.directions
        wanted = _unit(vectors).to(self.places.dtype)
        found = []
        for alike in (self.places @ wanted.T).T:
            best = alike.topk(min(8 * number, len(alike)))
            different = list(dict.fromkeys(self.reply[best.indices].tolist()))
            found.append(Near(different[:number], float(best.values[0])))
        return found

    def best(self, chatbot: Chatbot, state: State, mutual: float) -> list[Known]:
        """For each lane of a state what could be answered."""
        near = self.nearest(chatbot, state)
        rows = [row for row, own in enumerate(near) for _ in own.replies]
        replies = [self.replies[n] for own in near for n in own.replies]
        given = log_likelihoods(chatbot, replies, state, rows)
        found = []
        for (numbers, alike), own in zip(
            near, given.split([len(each.replies) for each in near]), strict=True
        ):
            said = [self.replies[n] for n in numbers]
            lengths = torch.tensor([len(tokens) + 1 for tokens in said])
            likely = Likelihoods(own, self.alone[numbers], lengths)
            found.append(Known(ranked(said, likely, mutual), alike))
        return found

    def bound(self, wrong: float) -> Bound | None:
        """What an answer must reach so that at most that share of held-out ones was wrong.

        None where even the surest answers are wrong more often, or nothing could be held out.
        """
        scores, right, alike = self.calibration
        # Share of right ones among those from each score on.
        above = right.flip(0).cumsum(0).flip(0) / torch.arange(len(right), 0, -1)
        enough = (above >= 1 - wrong).nonzero()
        if not len(enough):
            return None
        first = int(enough[0, 0])
        farthest = 1 - float(alike.quantile(UNLIKE))
        # Where all of them will do, the lowest is no bound: the next may be lower and as right.
        return Bound(float(scores[first]) if first else -inf, 1 - FARTHER * farthest)

    def answered(self, bound: Bound) -> float:
        """The share of held-out places at which an answer reaches a bound."""
        scores, _, alike = self.calibration
        return float(((scores >= bound.score) & (alike >= bound.alike)).double().mean())

    def doubts(self) -> str:
        """How often answers are wrong, in words."""
        right = self.calibration[1]
        if not len(right):
            return "nothing is held out to count wrong answers on"
        surest = right[-max(1, len(right) // 10) :]
        return (
            f"of {len(right)} held-out answers {1 - float(right.mean()):.0%} were wrong, of the "
            f"surest tenth {1 - float(surest.mean()):.0%}"
        )


class HeldOut(NamedTuple):
    """Replies that people gave where the bot has not learned from.

    Args:
        state: before each of them, (replies, size) tensors.
        replies: without END.
    """

    state: State
    replies: list[Tokens]

    @classmethod
    def of(cls, chatbot: Chatbot, corpus: Corpus | None, learn_from: str) -> "HeldOut | None":
        """Some replies of a corpus, drawn by a fixed seed; None where it has none.

        Args:
            chatbot: in evaluation mode.
            corpus: conversations that it has not learned from, if there are any.
            learn_from: whose messages are replies, "bot" or "all".
        """
        if corpus is None:
            return None
        drawn = draw_places(corpus, learn_from, CALIBRATION, 0)
        places = [place for place in drawn if is_kept(place.message(corpus))]
        if not places:
            return None
        replies = [tuple(place.message(corpus)[1:-1].tolist()) for place in places]
        return cls(states_at(chatbot, corpus, places), replies)


def build(
    chatbot: Chatbot,
    tokenizer: Tokenizer,
    corpus: Corpus,
    learn_from: str,
    most: int,
    heldout: HeldOut | None = None,
    mutual: float = 0.0,
) -> ReplyIndex | None:
    """Read conversations and keep their replies.

    Args:
        chatbot: whose states they are found by.
        tokenizer: its own.
        corpus: what it learns from.
        learn_from: whose messages are replies, "bot" or "all".
        most: replies that are kept, about: of more, conversations are drawn.
        heldout: replies to count wrong answers on.
        mutual: as in `Ranking`.

    Returns:
        None where nobody replies.
    """
    corpus = _drawn(corpus, learn_from, most)
    states: list[Tensor] = []
    numbers: list[int] = []
    known: dict[Tokens, int] = {}
    for at, messages, before in states_before(chatbot, corpus):
        rows, said = _replies_among(messages, at, learn_from)
        if rows:
            states.append(_flat(chatbot, tuple(tensor[rows] for tensor in before)).half())
            numbers += [known.setdefault(tokens, len(known)) for tokens in said]
    if not known:
        return None
    flat = torch.cat(states)
    centre, directions = _directions(flat)
    places = torch.cat([_unit((s.float() - centre) @ directions).half() for s in flat.split(FIT)])
    replies = list(known)
    index = ReplyIndex(
        centre,
        directions,
        places,
        torch.tensor(numbers),
        replies,
        log_likelihoods(chatbot, replies),
        torch.zeros(3, 0),
    )
    if heldout is None:
        return index
    return replace(index, calibration=_calibrate(index, chatbot, tokenizer, heldout, mutual))


def save(
    folder: Path, index: ReplyIndex, chatbot: Chatbot, tokenizer: Tokenizer, data: str
) -> None:
    """Write an index into a bot's folder, with the digests of what made it.

    Args:
        data: the path of what it was made of.
    """
    lengths = [len(tokens) for tokens in index.replies]
    tensors = {
        "centre": index.centre,
        "directions": index.directions,
        "places": index.places,
        "reply": index.reply.int(),
        "lengths": torch.tensor(lengths, dtype=torch.int32),
        "tokens": torch.tensor([t for own in index.replies for t in own], dtype=torch.int32),
        "alone": index.alone,
        "calibration": index.calibration,
    }
    facts = {"replies": FORMAT, "data": fingerprint(data), **made_by(chatbot, tokenizer)}
    write_tensors(folder / REPLIES, tensors, facts)


def known(bot: Bot, mutual: float, tell: Callable[[str], None]) -> ReplyIndex:
    """The replies of the conversations that a bot learned from; read again where these, or its
    weights, are others by now.

    Args:
        bot: whose replies.
        mutual: as in `Ranking`.
        tell: told in words what is done.

    Raises:
        ElmanError: where there are none, the conversations are gone, or a file is damaged.
    """
    saved, path = bot.config["data"], bot.path / REPLIES
    if bot.path == BASE:
        raise ElmanError(
            "the base bot keeps nobody's replies: elman train CHATS makes a bot of yours"
        )
    source = fingerprint(saved["path"])
    if path.exists():
        tensors, facts = read_tensors(path)
        expected = {"replies": FORMAT, **made_by(bot.chatbot, bot.tokenizer)}
        same = all(facts.get(name) == value for name, value in expected.items())
        if same and source in (None, facts.get("data")):
            return _of(tensors)
        what = "the conversations changed since" if same else "other weights made it"
        tell(f"{path}: {what}; it is made again")
    if source is None:
        raise ElmanError(
            f"{bot.path}: has no replies of people, and {saved['path']}, where they would be read, "
            "is gone"
        )
    dataset = Dataset.again(saved)
    parts, _ = dataset.encode(bot.tokenizer, saved["test"])
    heldout = HeldOut.of(bot.chatbot, parts.get("dev"), saved["learn_from"])
    found = build(
        bot.chatbot,
        bot.tokenizer,
        parts["train"],
        saved["learn_from"],
        saved.get("replies") or MOST,
        heldout,
        mutual,
    )
    if found is None:
        raise ElmanError(f"{saved['path']}: nobody replies to anything in it")
    save(bot.path, found, bot.chatbot, bot.tokenizer, saved["path"])
    return found


def _of(tensors: dict[str, Tensor]) -> ReplyIndex:
    replies = tensors.pop("tokens").split(tensors.pop("lengths").tolist())
    return ReplyIndex(replies=[tuple(own.tolist()) for own in replies], **tensors)


def overlap(one: Sequence[Any], other: Sequence[Any]) -> float:
    """F1 of what two sequences have in common, counted as often as it occurs in both."""
    rest = list(other)
    common = 0
    for each in one:
        if each in rest:
            rest.remove(each)
            common += 1
    return 2 * common / max(1, len(one) + len(other))


def in_common(tokenizer: Tokenizer, one: Tokens, other: Tokens) -> float:
    """`overlap` of the words of two replies."""
    said, heard = (tokenizer.decode(tokens).lower().split() for tokens in (one, other))
    return overlap(said, heard)


def is_kept(message: np.ndarray) -> bool:
    """Whether a message is neither empty nor too long to be a reply that is said again."""
    return 2 < len(message) <= LONGEST + 2


def _replies_among(
    messages: list[np.ndarray], at: list[int], learn_from: str
) -> tuple[list[int], list[Tokens]]:
    """Which of some messages, by their place in their conversations, are replies to be kept, and
    what they say.
    """
    rows = [
        row
        for row, (message, n) in enumerate(zip(messages, at, strict=True))
        if n > 0 and counts(message, learn_from) and is_kept(message)
    ]
    return rows, [tuple(messages[row][1:-1].tolist()) for row in rows]


def _drawn(corpus: Corpus, learn_from: str, most: int) -> Corpus:
    """Whole conversations, drawn by a fixed seed, that have about so many replies."""
    sizes = np.array(
        [
            sum(counts(message, learn_from) for message in corpus.messages(index)[1:])
            for index in range(len(corpus))
        ]
    )
    if sizes.sum() <= most:
        return corpus
    order = np.random.default_rng(0).permutation(len(corpus))
    chosen = np.sort(order[: max(1, int(np.searchsorted(sizes[order].cumsum(), most)))])
    parts = [corpus[index] for index in chosen.tolist()]
    starts = np.cumsum([0, *map(len, parts)])
    return Corpus(np.concatenate(parts), starts)


def _flat(chatbot: Chatbot, state: State) -> Tensor:
    """The layers' part of a state: a pointer's record is words, and no summary of them."""
    layers = chatbot.through_time.state_spec("")
    return torch.cat([tensor.float() for tensor in state[: len(layers)]], 1)


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=1)


def _directions(flat: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of states, and their main directions by principal component analysis, each number
    first divided by its spread, so that large ones do not drown the others.
    """
    some = flat[torch.randperm(len(flat), generator=torch.Generator().manual_seed(0))[:FIT]].float()
    centre = some.mean(0)
    spread = some.std(0, correction=0).clamp(min=1e-6)
    scaled = (some - centre) / spread
    values, vectors = torch.linalg.eigh(scaled.T @ scaled)
    kept = vectors[:, values.argsort(descending=True)[:DIRECTIONS]]
    return centre, (kept / spread.unsqueeze(1)).contiguous()


def _calibrate(
    index: ReplyIndex,
    chatbot: Chatbot,
    tokenizer: Tokenizer,
    heldout: HeldOut,
    mutual: float,
) -> Tensor:
    known = index.best(chatbot, heldout.state, mutual)
    found = [
        (
            own.candidates[0].score,
            float(in_common(tokenizer, own.candidates[0].tokens, real) >= RIGHT),
            own.alike,
        )
        for own, real in zip(known, heldout.replies, strict=True)
    ]
    return torch.tensor(sorted(found), dtype=torch.float64).reshape(-1, 3).T.contiguous()
