"""The replies of people that a bot keeps: read, written, and made again where they do not fit."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from elman.data.config import KEPT_REPLIES
from elman.data.corpus import Corpus, is_scored
from elman.data.dataset import Dataset
from elman.data.source import fingerprint
from elman.data.tokenizer import SPECIALS, Tokenizer
from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.generate.decoder import Decoder
from elman.generate.index import ReplyIndex, unit
from elman.generate.likelihood import Tokens, log_likelihoods, split
from elman.generate.positions import HeldOut, in_common, is_reply
from elman.generate.scoring import walk
from elman.model.array_files import read_arrays, write_arrays
from elman.model.folder import REPLIES, is_built_in

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
    states: list[np.ndarray] = []
    numbers: list[int] = []
    known: dict[Tokens, int] = {}
    for step in walk(decoder, corpus):
        rows, said = _replies_among(step.messages, step.numbers, learn_from)
        if rows:
            before = decoder.select(step.before, rows)
            states.append(decoder.vectors(before).astype(np.float16))
            numbers += [known.setdefault(tokens, len(known)) for tokens in said]
    if not known:
        return None
    found = np.concatenate(states)
    centre, directions = _directions(found)
    places = np.concatenate(
        [
            unit((found[n : n + FITTED_STATES] - centre) @ directions).astype(np.float16)
            for n in range(0, len(found), FITTED_STATES)
        ]
    )
    replies = list(known)
    index = ReplyIndex(
        centre,
        directions,
        places.astype(np.float32),
        np.array(numbers, np.int32),
        replies,
        log_likelihoods(decoder, replies),
        np.zeros((3, 0)),
    )
    if heldout is None:
        return index
    return replace(index, calibration=_calibrate(index, decoder, tokenizer, heldout))


def save(folder: Path, index: ReplyIndex, bot: Bot, data: str) -> None:
    """Write an index into a bot's folder, with the digests of what made it.

    Args:
        bot: whose states it is found by.
        data: the path of what it was made of.
    """
    tensors = {
        "centre": index.centre,
        "directions": index.directions,
        "places": index.places.astype(np.float16),
        "reply": index.reply,
        "lengths": np.array([len(tokens) for tokens in index.replies], np.int32),
        "tokens": np.array([t for own in index.replies for t in own], np.int32),
        "alone": index.alone,
        "calibration": index.calibration,
    }
    facts = {"replies": INDEX_FORMAT, "data": fingerprint(data), **bot.made_by}
    write_arrays(folder / REPLIES, tensors, facts)


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
    if is_built_in(bot.path):
        raise ElmanError(
            f"the bot {bot.path.name} keeps nobody's replies: elman train CHATS makes one of yours"
        )
    source = fingerprint(saved.path)
    if path.exists():
        tensors, facts = read_arrays(path)
        expected = {"replies": INDEX_FORMAT, **bot.made_by}
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
            f"{bot.home}: has no replies of people, and {saved.path}, where they would be read, "
            f"is gone; if it moved: elman train PATH --resume {bot.home}"
        )
    if not path.exists():
        tell(f"{path}: is not there; it is made, of {saved.path}")
    dataset = Dataset.again(bot.config["data"])
    parts, _ = dataset.encode(bot.tokenizer, saved.test)
    decoder = bot.decoder
    heldout = HeldOut.of(decoder, bot.tokenizer, parts.get("dev"), saved.learn_from)
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
    save(bot.path, found, bot, saved.path)
    return found


def _of(path: Path, tensors: dict[str, np.ndarray], bot: Bot) -> ReplyIndex:
    """The index that `save` wrote.

    Raises:
        ElmanError: where the tensors do not belong together, or to that bot.
    """
    decoder = bot.decoder
    size = decoder.vectors(decoder.initial_state(1)).shape[1]
    if not _is_index(tensors, size, bot.tokenizer.vocabulary_size):
        raise ElmanError(f"{path}: damaged: its parts do not belong together, or to {bot.path}")
    replies = split(tensors.pop("tokens"), tensors.pop("lengths").tolist())
    tensors["places"] = tensors["places"].astype(np.float32)
    return ReplyIndex(replies=[tuple(own.tolist()) for own in replies], **tensors)


def _is_index(tensors: Mapping[str, np.ndarray], size: int, vocabulary_size: int) -> bool:
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
    if {name for name, array in tensors.items() if array.dtype.kind == "f"} != set(reals):
        return False
    lengths, tokens, reply = (
        tensors[name].astype(np.int64) for name in ("lengths", "tokens", "reply")
    )
    return (
        int(lengths.min()) > 0
        and int(lengths.sum()) == said
        and int(tokens.min()) >= SPECIALS
        and int(tokens.max()) < vocabulary_size
        and int(reply.min()) >= 0
        and int(reply.max()) < replies
    )


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
    order = np.random.default_rng(0).permutation(len(corpus))
    replies, chosen = 0, 0
    for index in order:  # not further than needed: a corpus may be larger than memory
        messages = corpus.messages(int(index))[1:]
        replies += sum(is_scored(message, learn_from) for message in messages)
        chosen += replies < most
        if replies > most:
            return Corpus.of(corpus[int(n)] for n in np.sort(order[: max(1, chosen)]))
    return corpus


def _directions(states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of states, and their main directions by principal component analysis, each number
    first divided by its spread, so that large ones do not drown the others.
    """
    drawn = np.random.default_rng(0).permutation(len(states))[:FITTED_STATES]
    some = states[drawn].astype(np.float32)
    centre = some.mean(0)
    spread = some.std(0).clip(1e-6)
    scaled = (some - centre) / spread
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    kept = vectors[:, np.argsort(-values)[:DIRECTIONS]]
    return centre, np.ascontiguousarray(kept / spread[:, None])


def _calibrate(
    index: ReplyIndex,
    decoder: Decoder,
    tokenizer: Tokenizer,
    heldout: HeldOut,
) -> np.ndarray:
    known = index.best(decoder, heldout.state)
    found = [
        (
            own.candidates[0].score,
            float(in_common(tokenizer, own.candidates[0].tokens, real) >= RIGHT_F1),
            own.alike,
        )
        for own, real in zip(known, heldout.replies, strict=True)
    ]
    return np.ascontiguousarray(np.array(sorted(found), np.float64).reshape(-1, 3).T)
