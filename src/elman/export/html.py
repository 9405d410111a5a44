"""A bot as one HTML file, which needs no network and nothing beside it."""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from elman.data.files import write_file
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.export.leaving import Leaving, leaving
from elman.export.module import MODULE, PAGE_FOLDER
from elman.export.packing import as_characters, from_characters, pack, unpack
from elman.export.private import config_to_leave
from elman.export.rounding import MAX_COARSENESS, code_bytes, rounded
from elman.generate.bot import Bot
from elman.generate.care import cares, patterns
from elman.generate.drawing import reply_batch
from elman.generate.likelihood import as_message
from elman.generate.manners import Manners
from elman.generate.match import Match
from elman.generate.rerank import Ranking
from elman.generate.sampling import SamplingParams
from elman.model.config import ModelConfig
from elman.model.folder import folder_of, read_config
from elman.runtime.choose import load_bot
from elman.runtime.compiled import CompiledDecoder
from elman.runtime.reference import ReferenceDecoder
from elman.runtime.weights import Weights, is_known, load_weights

PAGE_FORMAT = 1
"""Raised whenever a page written before can no longer be read."""

DEFAULT_MAX_MB = 8.0
BYTES_PER_MB = 1_000_000

ENGINE_SCRIPTS = tuple(
    f"engine/{name}.js"
    for name in ("bytes", "numbers", "tokens", "layers", "reference", "compiled", "sampling",
                 "ranking", "fixed", "states", "session", "worker")
)  # fmt: skip
"""Scripts that compute; they share one scope."""

PAGE_SCRIPTS = ("engine.js", "messages.js", "main.js")
"""Scripts that show; likewise."""

BOT_BEGINS = '<script type="elman/bot" id="bot" data-bytes="'
"""In index.html; behind it stands how many bytes there are, and after the tag they."""

COST_BYTES = 64
"""Of a page, what is left for the number that says what rounding costs."""

CODE_OVERHEAD = 1.045
"""Bytes of a file over those of the best code: of a Huffman code, and of escapes."""

FITTING_STEPS = 8

SAMPLING = {"temperature", "top_p", "min_p", "repetition_penalty", "max_tokens"}

PROBE_ROWS, PROBE_TOKENS = 48, 40
"""Replies, and tokens of each, by which is measured what rounding costs."""


def write_page(bot: Path, out: Path, max_mb: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Write a bot as a page.

    Args:
        bot: its folder.
        out: the file.
        max_mb: megabytes that the file has at most.
        tell: is told what leaves with it, and what does not.

    Returns:
        `bytes`, the file's; `bits_per_weight`; `cost`, the share of bits that rounding adds.

    Raises:
        ElmanError: where the bot cannot leave, or not in so few megabytes.
    """
    if out.is_dir():
        raise ElmanError(f"{out}: is a folder; --out names a file, such as ann.html")
    require_known(bot)
    loaded = load_bot(bot, "float32")
    weights = load_weights(bot)
    found = leaving(loaded)
    for line in found.warnings:
        tell(line)
    document = _document(loaded, found)
    arrays = {**weights.stored, **_match_arrays(loaded)}
    limit = int(max_mb * BYTES_PER_MB)
    coarseness = _fitting(arrays, document, limit)
    while True:
        some = rounded(arrays, coarseness)
        page = _page(document, some)
        if len(page) + COST_BYTES <= limit:
            break
        coarseness = coarseness * 1.01 + 0.001
        if coarseness > MAX_COARSENESS:
            raise ElmanError(
                f"{bot}: too large for a page of {max_mb:g} MB: rounded as far as it makes sense, "
                f"it takes {len(page) / BYTES_PER_MB:.1f} MB; --max-mb allows more"
            )
    cost = _cost(loaded, weights, some)
    page = _page({**document, "cost": round(cost, 6)}, some)
    write_file(out, page)
    size = sum(array.size for array in some.values() if array.dtype == np.int8)
    bits = 8 * code_bytes(some) / max(size, 1)
    if coarseness:
        tell(
            f"to fit into {max_mb:g} MB, {size:,} weights were rounded to {bits:.1f} bits each; "
            f"what the bot itself says takes {cost:.2%} more bits so"
        )
    return {"bytes": len(page), "bits_per_weight": round(bits, 2), "cost": cost}


def read_page(path: Path) -> tuple[dict[str, Any], Weights, Tokenizer]:
    """Read what a page holds: its document, its weights as they are there, and its tokenizer.

    Raises:
        ElmanError: where it is no page of a bot's, or damaged.
    """
    text = path.read_bytes().decode("utf-16", "replace")
    try:
        size, content = text.split(BOT_BEGINS)[1].split('">', 1)
        content, end = content.split("</script>", 1)
        check = end.split('data-check="')[1].split('"')[0]
        packed = from_characters(content, int(size))
    except (IndexError, ValueError):
        raise ElmanError(f"{path}: no page of a bot's, or cut") from None
    if f"{zlib.crc32(packed):08x}" != check:
        raise ElmanError(f"{path}: damaged: its digest is another")
    document, arrays = unpack(packed, path)
    tokenizer = Tokenizer(document["tokenizer"])
    stored = {n: a for n, a in arrays.items() if not n.startswith("match.") and n != MODULE}
    model = ModelConfig.model_validate(document["config"]["model"])
    weights = Weights(model, tokenizer.vocabulary_size, stored, tokenizer.characters)
    return document, weights, tokenizer


def require_known(bot: Path) -> None:
    """Check that a page can compute a bot.

    Raises:
        ElmanError: where its memory or a cell is somebody's own code.
    """
    model = ModelConfig.model_validate(read_config(folder_of(bot), trust=None)["model"])
    if not is_known(model):
        own = ", ".join(model.outside_cells) or model.memory
        raise ElmanError(
            f"{bot}: {own} is code of your own, which cannot leave: a page computes the cells and "
            "memories that come with Elman. Train it with one of those, or share the bot's folder"
        )


def _document(bot: Bot, found: Leaving) -> dict[str, Any]:
    """Return all of a page that is not weights, but for what a page need not know."""
    rules, manners = cares(bot.config), Manners.read(bot)
    return {
        "page": PAGE_FORMAT,
        "name": bot.config.get("data", {}).get("bot") or bot.home.name,
        "people": found.people,
        "config": config_to_leave(bot.config),
        "made_by": bot.made_by,
        "tokenizer": json.loads(bot.tokenizer.to_json()),
        "sampling": SamplingParams.of(bot.config).model_dump(include=SAMPLING),
        "ranking": Ranking.of(bot.config).model_dump(),
        "manners": manners and manners.content.model_dump(include={"asks", "often"}),
        "care": [(each.pattern, answers) for each, answers in patterns()] if rules else [],
        "small_talk": found.small_talk,
        "taught": found.taught,
        "common": found.common,
        "card": found.card,
        "cost": 0.0,
    }


def _match_arrays(bot: Bot) -> dict[str, np.ndarray]:
    """Return the maps by which replies are ranked, if there are some; directions in rows."""
    match = Match.read(bot)
    if match is None:
        return {}
    return {
        "match.asked_centre": match.asked.centre,
        "match.asked_directions": np.ascontiguousarray(match.asked.directions.T),
        "match.answered_centre": match.answered.centre,
        "match.answered_directions": np.ascontiguousarray(match.answered.directions.T),
        "match.crowd": match.crowd,
        "match.weight": np.array([match.weight], np.float32),
    }


def _fitting(arrays: Mapping[str, np.ndarray], document: Mapping[str, Any], limit: int) -> float:
    """Return about the least coarseness with which a page keeps to a limit of bytes; 0: none."""
    finest = rounded(arrays, 0.0)
    rest = len(_page(document, {n: a for n, a in finest.items() if a.dtype != np.int8}))
    room = (limit - rest) / CODE_OVERHEAD
    if code_bytes(finest) <= room:
        return 0.0
    low, high = 0.0, MAX_COARSENESS
    for _ in range(FITTING_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if code_bytes(rounded(arrays, middle)) <= room else (middle, high)
    return high


def _cost(bot: Bot, weights: Weights, arrays: Mapping[str, np.ndarray]) -> float:
    """Measure by what a bot itself says how many more bits it takes with other weights.

    What is said is drawn by the bot's own probabilities. So the difference is the divergence of
    Kullback and Leibler, and no conversation is needed to measure it.
    """
    params = SamplingParams(temperature=1.0, top_p=1.0, min_p=0.0, repetition_penalty=1.0,
                            max_tokens=PROBE_TOKENS, seed=0)  # fmt: skip
    own = bot.decoder
    drawn = reply_batch(own, own.initial_state(PROBE_ROWS), params)
    messages = [as_message(each.tokens) for each in drawn]
    kind = CompiledDecoder if isinstance(own, CompiledDecoder) else ReferenceDecoder
    stored = {n: a for n, a in arrays.items() if not n.startswith("match.")}
    other = kind(replace(weights, stored=stored))
    before, after = (
        each.costs(messages, each.initial_state(PROBE_ROWS)).sum() for each in (own, other)
    )
    return float(after / before - 1)


def _page(document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Make the whole file."""
    module = np.frombuffer((PAGE_FOLDER / MODULE).read_bytes(), np.uint8)
    packed = pack(document, {**arrays, MODULE: module})
    page = Template(source("index.html")).substitute(
        title=escape(str(document["name"])),
        style=source("page.css"),
        engine="\n".join(map(source, ENGINE_SCRIPTS)),
        page="\n".join(map(source, PAGE_SCRIPTS)),
        bytes=len(packed),
        check=f"{zlib.crc32(packed):08x}",
        bot=as_characters(packed),
    )
    return ("\ufeff" + page).encode("utf-16-le")


def source(name: str) -> str:
    """Read a script of the page."""
    return (PAGE_FOLDER / name).read_text("utf-8")
