"""The replies of people that a bot keeps: read, written, and made again where they do not fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.data.config import KEPT_REPLIES
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.data.source import fingerprint
from elman.data.tokenizer import SPECIALS, Tokenizer
from elman.errors import ElmanError
from elman.generate.decoder import Decoder
from elman.generate.index import ReplyIndex, unit
from elman.generate.network import decoder_of
from elman.generate.positions import HeldOut, is_reply
from elman.generate.rerank import Tokens, log_likelihoods
from elman.generate.scoring import is_scored, walk
from elman.model.chatbot import Chatbot
from elman.model.checkpoint import BASE, Bot, made_by
from elman.model.tensor_files import check_finite, read_tensors, write_tensors

REPLIES = "replies.safetensors"
INDEX_FORMAT = 2

DIRECTIONS = 128
"""Numbers that are kept of a state: its main directions. A choice; fewer or more were not tried."""

FITTED_STATES = 4096
"""States from which the directions are computed."""

RIGHT_F1 = 0.5
"""Share of words in common with the real reply (F1) from which a reply counts as right."""


def build(
    decoder: Decoder,
    tokenizer: Tokenizer,
    corpus: Corpus,
    learn_from: str,
    most: int,
    heldout: HeldOut | None = None,
) -> ReplyIndex | None:
    """Read conversations and keep their replies.

    Args:
        decoder: by whose states they are found.
        tokenizer: its own.
        corpus: what it learns from.
        learn_from: whose messages are replies, "bot" or "all".
        most: replies that are kept, about: of more, conversations are drawn.
        heldout: replies to count wrong answers on.

    Returns:
        None where nobody replies.
    """
    corpus = _drawn(corpus, learn_from, most)
    states: list[Tensor] = []
    numbers: list[int] = []
    known: dict[Tokens, int] = {}
    for step in walk(decoder, corpus):
        rows, said = _replies_among(step.messages, step.numbers, learn_from)
        if rows:
            before = decoder.select(step.before, rows)
            states.append(torch.from_numpy(decoder.vectors(before)).half())
            numbers += [known.setdefault(tokens, len(known)) for tokens in said]
    if not known:
        return None
    found = torch.cat(states)
    centre, directions = _directions(found)
    places = torch.cat(
        [unit((s.float() - centre) @ directions).half() for s in found.split(FITTED_STATES)]
    )
    replies = list(known)
    index = ReplyIndex(
        centre,
        directions,
        places,
        torch.tensor(numbers),
        replies,
        log_likelihoods(decoder, replies),
        torch.zeros(3, 0),
    )
    if heldout is None:
        return index
    return replace(index, calibration=_calibrate(index, decoder, tokenizer, heldout))


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
    facts = {"replies": INDEX_FORMAT, "data": fingerprint(data), **made_by(chatbot, tokenizer)}
    write_tensors(folder / REPLIES, tensors, facts)


def known(bot: Bot, tell: Callable[[str], None]) -> ReplyIndex:
    """The replies of the conversations that a bot learned from; read again where these, or its
    weights, are others by now.

    Args:
        bot: whose replies.
        tell: told in words what is done.

    Raises:
        ElmanError: where there are none, the conversations are gone, or a file is damaged.
    """
    saved, path = bot.data, bot.path / REPLIES
    if bot.path == BASE:
        raise ElmanError(
            "the base bot keeps nobody's replies: elman train CHATS makes a bot of yours"
        )
    source = fingerprint(saved.path)
    if path.exists():
        tensors, facts = read_tensors(path)
        expected = {"replies": INDEX_FORMAT, **made_by(bot.chatbot, bot.tokenizer)}
        same = all(facts.get(name) == value for name, value in expected.items())
        if same and source in (None, facts.get("data")):
            return _of(path, tensors, bot)
        if facts.get("replies") != INDEX_FORMAT:
            what = "another version of Elman made it"
        else:
            what = "the conversations changed since" if same else "other weights made it"
        tell(f"{path}: {what}; it is made again, of {saved.path}")
    if source is None:
        raise ElmanError(
            f"{bot.path}: has no replies of people, and {saved.path}, where they would be read, "
            f"is gone; if it moved: elman train PATH --resume {bot.path}"
        )
    if not path.exists():
        tell(f"{path}: is not there; it is made, of {saved.path}")
    dataset = Dataset.again(bot.config["data"])
    parts, _ = dataset.encode(bot.tokenizer, saved.test)
    decoder = decoder_of(bot)
    heldout = HeldOut.of(decoder, parts.get("dev"), saved.learn_from)
    found = build(
        decoder,
        bot.tokenizer,
        parts["train"],
        saved.learn_from,
        saved.replies or KEPT_REPLIES,
        heldout,
    )
    if found is None:
        raise ElmanError(f"{saved.path}: nobody replies to anything in it")
    save(bot.path, found, bot.chatbot, bot.tokenizer, saved.path)
    return found


def _of(path: Path, tensors: dict[str, Tensor], bot: Bot) -> ReplyIndex:
    """The index that `save` wrote.

    Raises:
        ElmanError: where the tensors do not belong together, or to that bot.
    """
    check_finite(path, tensors)
    decoder = decoder_of(bot)
    size = decoder.vectors(decoder.initial_state(1)).shape[1]
    if not _is_index(tensors, size, bot.tokenizer.vocabulary_size):
        raise ElmanError(f"{path}: damaged: its parts do not belong together, or to {bot.path}")
    replies = tensors.pop("tokens").split(tensors.pop("lengths").tolist())
    return ReplyIndex(replies=[tuple(own.tolist()) for own in replies], **tensors)


def _is_index(tensors: Mapping[str, Tensor], size: int, vocabulary_size: int) -> bool:
    """Whether tensors from outside are an index of replies by states of that size."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    try:
        (places, kept), (_, marks) = shapes["places"], shapes["calibration"]
        (replies,), (said,) = shapes["lengths"], shapes["tokens"]
    except (KeyError, ValueError):
        return False
    reals = {
        "centre": (size,),
        "directions": (size, kept),
        "places": (places, kept),
        "alone": (replies,),
        "calibration": (3, marks),
    }
    integers = {"reply": (places,), "lengths": (replies,), "tokens": (said,)}
    if shapes != reals | integers or not (places and replies):
        return False
    if {name for name, tensor in tensors.items() if tensor.is_floating_point()} != set(reals):
        return False
    lengths, tokens, reply = (tensors[name].long() for name in ("lengths", "tokens", "reply"))
    return (
        int(lengths.min()) > 0
        and int(lengths.sum()) == said
        and int(tokens.min()) >= SPECIALS
        and int(tokens.max()) < vocabulary_size
        and int(reply.min()) >= 0
        and int(reply.max()) < replies
    )


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


def _replies_among(
    messages: list[np.ndarray], at: list[int], learn_from: str
) -> tuple[list[int], list[Tokens]]:
    """Which of some messages, by their place in their conversations, are replies to be kept, and
    what they say.
    """
    rows = [
        row
        for row, (message, n) in enumerate(zip(messages, at, strict=True))
        if n > 0 and is_scored(message, learn_from) and is_reply(message)
    ]
    return rows, [tuple(messages[row][1:-1].tolist()) for row in rows]


def _drawn(corpus: Corpus, learn_from: str, most: int) -> Corpus:
    """Whole conversations, drawn by a fixed seed, that have about so many replies."""
    sizes = np.array(
        [
            sum(is_scored(message, learn_from) for message in corpus.messages(index)[1:])
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


def _directions(states: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of states, and their main directions by principal component analysis, each number
    first divided by its spread, so that large ones do not drown the others.
    """
    drawn = torch.randperm(len(states), generator=torch.Generator().manual_seed(0))[:FITTED_STATES]
    some = states[drawn].float()
    centre = some.mean(0)
    spread = some.std(0, correction=0).clamp(min=1e-6)
    scaled = (some - centre) / spread
    values, vectors = torch.linalg.eigh(scaled.T @ scaled)
    kept = vectors[:, values.argsort(descending=True)[:DIRECTIONS]]
    return centre, (kept / spread.unsqueeze(1)).contiguous()


def _calibrate(
    index: ReplyIndex,
    decoder: Decoder,
    tokenizer: Tokenizer,
    heldout: HeldOut,
) -> Tensor:
    known = index.best(decoder, heldout.state)
    found = [
        (
            own.candidates[0].score,
            float(in_common(tokenizer, own.candidates[0].tokens, real) >= RIGHT_F1),
            own.alike,
        )
        for own, real in zip(known, heldout.replies, strict=True)
    ]
    return torch.tensor(sorted(found), dtype=torch.float64).reshape(-1, 3).T.contiguous()
