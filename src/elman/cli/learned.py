"""Whether conversations are those that a bot learned from, wherever they lie now."""

from pathlib import Path
from typing import TYPE_CHECKING

from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.model.checkpoint import Bot


def has_learned_from(bot: "Bot", path: str) -> bool:
    """Whether a bot learned from the conversations at a path.

    Where those that it learned from are gone, these are compared with what its run has kept of
    them; a copy beside the original counts as something else.
    """
    from elman.data.dataset import Dataset
    from elman.data.source import fingerprint
    from elman.model.checkpoint import read_tensors
    from elman.train.resuming import RESUME

    saved = bot.data
    if path == saved.path or Path(path).resolve() == Path(saved.path):
        return True
    kept = bot.path / RESUME
    if path == "-" or fingerprint(saved.path) is not None or not kept.exists():
        return False
    try:
        moved = Dataset.again(bot.config["data"] | {"path": path})
    except ElmanError:  # such as that nobody in them has the bot's name
        return False
    parts, _ = moved.encode(bot.tokenizer, saved.test)
    digest = read_tensors(kept)[1].get("corpus")
    return "train" in parts and parts["train"].digest == digest
