"""What of a bot may leave home, and what is said before it does.

A bot's weights leave: nobody can use it without. Chats, what was taught, people's replies, the
sample of what it learned, canaries, logs and checkpoints stay.
"""

from collections.abc import Mapping
from typing import Any

from elman.data.source import BUILT_IN
from elman.data.tokenizer import MIN_VOCABULARY_SIZE
from elman.model.config import ModelConfig
from elman.model.folder import BUILT_IN_BOTS

UNKNOWN_PATH = "-"
"""Where it learned from, for others: standard input, which nobody can read again."""

PUBLIC_PATHS = (*BUILT_IN_BOTS, BUILT_IN)
"""What anybody can have learned from."""

LEAVING_DATA = ("bot", "learn_from", "vocabulary", "others", "redact", "rename")
LEAVING_SECTIONS = ("format", "elman", "model", "reply", "int8_loss")


def learned_in_public(config: Mapping[str, Any]) -> bool:
    """Tell whether all that a bot learned from is public."""
    return config.get("data", {}).get("path") in PUBLIC_PATHS


def config_to_leave(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bot's configuration without paths, other people's names, and the seed of canaries.

    Args:
        config: as `read_config` reads it.
    """
    data = config.get("data", {})
    path = data.get("path") if learned_in_public(config) else UNKNOWN_PATH
    found = {name: config[name] for name in LEAVING_SECTIONS if config.get(name) is not None}
    own = {name: data[name] for name in LEAVING_DATA if name in data}
    return found | {"data": {"path": path, **own}}


def private_words(config: Mapping[str, Any], with_replies: bool = False) -> list[str]:
    """Say what private words leave with a bot: a sentence for each kind.

    Args:
        config: as `read_config` reads it.
        with_replies: whether the replies of people go along.
    """
    data, model = config.get("data", {}), ModelConfig.model_validate(config["model"])
    found = list[str]()
    if not learned_in_public(config):
        if not data.get("redact"):
            found.append(
                "it learned from conversations that were not redacted: e-mail addresses, numbers "
                "and names in them may be said to anybody; elman train --redact hides many"
            )
        if model.ngrams:
            found.append(
                f"its counts are sequences of up to {model.ngrams} tokens, word for word as they "
                "were said; elman train --set model.ngrams=0 makes a bot without"
            )
        if data.get("vocabulary", 0) > MIN_VOCABULARY_SIZE:
            found.append("its tokenizer holds pieces of words that were said more than once")
        if data.get("bot") is not None:
            found.append(f"it is called {data['bot']}" + (" (renamed)" * bool(data.get("rename"))))
    found += [
        f"the code of {cell} stays; whoever loads the bot needs it" for cell in model.outside_cells
    ]
    if with_replies:
        found.append("--with-replies: what people answered goes along, word for word")
    if with_replies or not learned_in_public(config):
        found.append("elman audit measures what it gives away")
    return found
