"""Conversations as a bot sees them, and whether they are those that it learned from."""

from pathlib import Path
from typing import TYPE_CHECKING

from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.data.dataset import Dataset
    from elman.generate.bot import Bot


def has_learned_from(bot: "Bot", path: str) -> bool:
    """Tell whether a bot learned from the conversations at a path.

    Where those that it learned from are gone, these are compared with what its run has kept of
    them; a copy beside the original counts as something else.
    """
    from elman.data.dataset import Dataset
    from elman.data.source import fingerprint

    saved = bot.data
    if path == saved.path or Path(path).resolve() == Path(saved.path):
        return True
    if path == "-" or fingerprint(saved.path) is not None:
        return False
    expected = corpus_learned(bot)
    if expected is None:
        return False
    try:
        moved = Dataset.again(bot.config["data"] | {"path": path})
    except ElmanError:  # such as that nobody in them has the bot's name
        return False
    parts, _ = moved.encode(bot.tokenizer, saved.test)
    return "train" in parts and parts["train"].digest == expected


def read_as(bot: "Bot", path: str, encoding: str | None, name: str | None) -> "Dataset":
    """Read conversations as a bot sees them.

    The encoding is that of what it learned from, where it is None; who the bot is, as `name_there`.

    Raises:
        ElmanError: where nobody is the bot, or it cannot be known who is.
    """
    from elman.data.dataset import Dataset

    saved = bot.data
    if saved.rename and name is None and not has_learned_from(bot, path):
        raise ElmanError(
            "people were renamed for this bot, and get other names in other conversations: say who "
            "it is there, with --bot and the real name"
        )
    name = name_there(bot, name)
    return Dataset.read(path, encoding or saved.encoding, bot=name, lenient=True, **saved.view())


def name_there(bot: "Bot", name: str | None) -> str | None:
    """Return who a bot is in conversations.

    That is the name that was given, else its own. A bot that comes with Elman is nobody in
    conversations of others.
    """
    from elman.model.folder import BUILT_IN_BOTS

    return name or (None if bot.data.path in BUILT_IN_BOTS else bot.data.bot)


def dataset_learned(bot: "Bot", path: str | None) -> "Dataset":
    """Read what a bot learned from, as it saw it.

    Args:
        bot: whose.
        path: where it lies now; None: where it was.

    Raises:
        ElmanError: where it is gone, or nobody knows it.
    """
    from elman.data.dataset import Dataset
    from elman.data.source import fingerprint
    from elman.model.folder import is_built_in

    saved = bot.data
    if is_built_in(bot.path):
        raise ElmanError(
            f"{bot.path.name}: what it learned from does not come with Elman; name a bot of yours"
        )
    place = saved.path if path is None else path
    if fingerprint(place) is None:
        where = "standard input" if place == "-" else place
        raise ElmanError(
            f"{where}: is gone, and {bot.home} learned from it; name where it lies now, after "
            f"{bot.home}"
        )
    return Dataset.again(bot.config["data"] | {"path": place})


def corpus_learned(bot: "Bot") -> str | None:
    """Return the digest of what a bot learned from, as its run kept it; None: it is not known."""
    from elman.train.checkpoints import corpus_of_run

    return corpus_of_run(bot.home)
