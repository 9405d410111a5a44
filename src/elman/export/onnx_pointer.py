"""The pointer and the counts as ONNX operators: `runtime/pointer.py` and `runtime/counts.py`."""

import numpy as np
from onnx import TensorProto

from elman.data.tokenizer import SPECIALS
from elman.export.onnx_graph import OnnxGraph
from elman.model.config import KEY_SIZE, TOKEN_BITS, ModelConfig

INT64_MAX = int(np.iinfo(np.int64).max)


def record(g: OnnxGraph, token: str, read: str, state: list[str]) -> list[str]:
    """Write down a token in each row; as `elman.runtime.pointer.record`."""
    ids, keys, before = state
    is_text = g("GreaterOrEqual", token, g.constant(SPECIALS, np.int32))
    text = g("Unsqueeze", g("Cast", is_text, to=TensorProto.FLOAT), g.numbers(1))
    number = g("Unsqueeze", g("Cast", token, to=TensorProto.FLOAT), g.numbers(1))
    own = g("Mul", g("Add", before, g.linear("pointer.itself", read)), text)
    return [
        g("Concat", g.columns(ids, 1, INT64_MAX), g("Mul", number, text), axis=1),
        g("Concat", g.columns(keys, KEY_SIZE, INT64_MAX), own, axis=1),
        g.linear("pointer.before", read),
    ]


def logits(g: OnnxGraph, heard: str) -> str:
    """Return the vocabulary's logits, (B, V), of (B, H)."""
    return g("Gemm", heard, g.weight("embedding.weight"), g.weight("output_bias"), transB=1)


def mixed(g: OnnxGraph, config: ModelConfig, hidden: str, record: list[str], oldest: str) -> str:
    """Look at the record; return log p of the next token, (B, V), with the counts, if any.

    Args:
        g: the graph.
        config: sizes.
        hidden: what looks, (B, H).
        record: after the last token was written.
        oldest: the id that made place for it, (B, 1).
    """
    shares, gate, heard = _point(g, config.pointer, hidden, record, oldest)
    p = g("Mul", g("Softmax", logits(g, heard), axis=1), gate)
    ids = g("Cast", record[0], to=TensorProto.INT64)
    p = g("ScatterElements", p, ids, shares, axis=1, reduction="add")
    if config.ngrams:
        score = g.linear("ngrams.gate", heard)
        counted = _counted(g, config, ids)
        own = g("Mul", p, g("Sigmoid", g("Neg", score)))
        p = g("Add", own, g("Mul", g("Sigmoid", score), counted))
    return g("Log", g("Max", p, g.constant(np.finfo(np.float32).tiny)))


def _point(
    g: OnnxGraph, length: int, hidden: str, record: list[str], oldest: str
) -> tuple[str, str, str]:
    ids = record[0]
    keys = g("Reshape", record[1], g.numbers(-1, length, KEY_SIZE))
    query = g("Div", g.linear("pointer.query", hidden), g.constant(KEY_SIZE**0.5))
    scores = g("Squeeze", g("MatMul", keys, g("Unsqueeze", query, g.numbers(2))), g.numbers(2))
    nothing = g("Equal", ids, g.constant(0))
    earlier, alike = g("Concat", oldest, ids, axis=1), g("Not", nothing)
    gains = g.linear("pointer.follow", hidden)
    for back in range(min(2, length)):
        # Whether the token `back + 1` before each is the one `back` before now.
        then = g.columns(earlier, 0, length - back)
        if back:
            then = g("Pad", then, g.numbers(0, back, 0, 0))
        now = g.columns(earlier, length - back, length - back + 1)
        known = g("Not", g("Equal", then, g.constant(0)))
        alike = g("And", g("And", alike, g("Equal", then, now)), known)
        gain = g.columns(gains, back, back + 1)
        scores = g("Add", scores, g("Mul", g("Cast", alike, to=TensorProto.FLOAT), gain))
    scores = g("Where", nothing, g.constant(-np.inf), scores)
    scores = g("Concat", scores, g.linear("pointer.sentinel", hidden), axis=1)
    shares, gate = g.split(g("Softmax", scores, axis=1), [length, 1])
    looked = g("Squeeze", g("MatMul", g("Unsqueeze", shares, g.numbers(1)), keys), g.numbers(1))
    return shares, gate, g("Add", hidden, g.linear("pointer.tell", looked))


def _counted(g: OnnxGraph, config: ModelConfig, ids: str) -> str:
    """Return p of every token after the last ones by the counts, (B, V).

    Args:
        g: the graph.
        config: sizes.
        ids: the record's, (B, L) int64; 0: none, or no text.
    """
    (vocabulary_size,) = g.array("output_bias").shape
    rows = g("Shape", ids, end=1)
    p = g.filled(g("Concat", rows, g.numbers(vocabulary_size), axis=0), 0, np.float32)
    column = g("Concat", rows, g.numbers(1), axis=0)
    share = g.filled(column, 1, np.float32)
    for length in range(config.ngrams - 1, -1, -1):
        name = f"ngrams.layers.{length}"
        if not g.array(f"{name}.contexts").size:
            continue
        if length == 0:
            at = g.filled(column, 0, np.int64)
            p, share = _after(g, name, p, share, at)
            continue
        key = _key(g, ids, config.pointer, length)
        contexts, at = _searched(g, f"{name}.contexts", key)
        found = g("Equal", g("Gather", contexts, at), key)
        p, left = _after(g, name, p, g("Where", found, share, g.constant(0)), at)
        share = g("Where", found, left, share)
    return g("Add", p, g("Mul", share, g.constant(1 / vocabulary_size)))


def _key(g: OnnxGraph, ids: str, record_length: int, length: int) -> str:
    """Pack the last tokens into a number, (B, 1), as `elman.runtime.counts.context_key`."""
    key, is_text = "", ""
    for back in range(length):
        token = g.columns(ids, record_length - 1 - back, record_length - back)
        own = g("Cast", g("Greater", token, g.constant(0, np.int64)), to=TensorProto.INT64)
        is_text = g("Mul", is_text, own) if back else own
        part = g("Mul", g("Mul", token, is_text), g.constant(1 << TOKEN_BITS * back, np.int64))
        key = g("Add", key, part) if back else part
    return key


def _searched(g: OnnxGraph, name: str, key: str) -> tuple[str, str]:
    """Find the last context that is no larger than a key, by halves.

    Returns:
        The contexts, filled up to a power of two, and where each key is if it is anywhere, (B, 1).
    """
    contexts, count = g.stored(name), g.array(name).size
    size = 1 << (count - 1).bit_length()
    if size > count:
        rest = g.filled(g.numbers(size - count), INT64_MAX, np.int64)
        contexts = g("Concat", contexts, rest, axis=0)
    at, step = g("Mul", key, g.constant(0, np.int64)), size >> 1
    while step:
        further = g("Add", at, g.constant(step, np.int64))
        is_there = g("LessOrEqual", g("Gather", contexts, further), key)
        at, step = g("Where", is_there, further, at), step >> 1
    return contexts, at


def _after(g: OnnxGraph, name: str, p: str, share: str, at: str) -> tuple[str, str]:
    """Give the words after a context their part of a share, (B, 1).

    Returns:
        p, (B, V), and what is left to the shorter context.
    """
    begins = g.array(f"{name}.begins")
    widest = int(np.diff(begins).max())
    begin, end = (
        g("Cast", g("Gather", g.stored(f"{name}.begins"), place), to=TensorProto.INT64)
        for place in (at, g("Add", at, g.constant(1, np.int64)))
    )
    total = g("Cast", g("Gather", g.stored(f"{name}.totals"), at), to=TensorProto.FLOAT)
    # As many places for each row as the most words that any context has.
    places = g("Range", *(g.constant(n, np.int64) for n in (0, widest, 1)))
    place = g("Add", begin, g("Unsqueeze", places, g.numbers(0)))
    is_own = g("Less", place, end)
    place, own = g("Where", is_own, place, begin), g("Cast", is_own, to=TensorProto.FLOAT)
    count = g("Cast", g("Gather", g.stored(f"{name}.counts"), place), to=TensorProto.FLOAT)
    word = g("Cast", g("Gather", g.stored(f"{name}.words"), place), to=TensorProto.INT64)
    discount = g.stored(f"{name}.discount")
    seen = g("ReduceSum", g("Mul", count, own), g.numbers(1))
    kept = g("Cast", g("Sub", end, begin), to=TensorProto.FLOAT)
    left = g("Add", g("Sub", total, seen), g("Mul", discount, kept))
    share = g("Div", share, total)
    part = g("Mul", share, g("Mul", own, g("Sub", count, discount)))
    p = g("ScatterElements", p, word, part, axis=1, reduction="add")
    return p, g("Mul", share, left)
