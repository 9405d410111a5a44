"""A run on a corpus that `elman data build` made: nothing is read but its tokens."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from elman.data.corpus import Corpus
from elman.data.shards.corpus import open_corpus
from elman.data.shards.index import Index
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.generate.network import NetworkBot, load_network_bot
from elman.model.config import ModelConfig
from elman.model.folder import BUILT_IN_BOTS, read_tokenizer
from elman.train.choices import BaseFacts, wanted_base
from elman.train.config import AUTO, Config
from elman.train.plan import DataFacts
from elman.train.runlog import Tell

IN_MEMORY_ONLY = ("max_text_bytes", "canaries", "forgotten", "invent")
"""Settings of data for which the messages themselves are needed."""


def open_built(config: Config, tell: Tell) -> tuple[Index, Tokenizer, dict[str, Corpus]]:
    """Map the corpus of a run.

    Raises:
        ElmanError: where it is damaged, or settings are given that it was not built with.
    """
    folder = Path(config.data.path)
    tell("stage", text=f"opening {folder}")
    index, tokenizer, parts = open_corpus(folder)
    _check(config, index)
    if index.near_duplicates:
        tell.note(
            f"{index.near_duplicates:,} held-out conversations were left out: nearly the same is "
            "learned from"
        )
    return index, tokenizer, parts


def _check(config: Config, index: Index) -> None:
    """Refuse what is given and is not how the corpus was built."""
    data, built = config.data, index.view.model_dump()
    for name in sorted(data.model_fields_set & built.keys()):
        given = getattr(data, name)
        given = list(given) if isinstance(given, tuple) else given
        if given != built[name] and not (name == "others" and given is None):
            raise ElmanError(
                f"data.{name} is {given!r}, and {data.path} was built with {built[name]!r}: leave "
                "it out, or build another corpus"
            )
    for name in IN_MEMORY_ONLY:
        if getattr(data, name):
            raise ElmanError(
                f"data.{name}: not with a corpus that was built, which has tokens and no messages: "
                f"train on its sources: {', '.join(index.sources)}"
            )


def facts(
    asked: Config, index: Index, tokenizer: Tokenizer, tell: Tell, trust: Collection[str]
) -> tuple[Config, DataFacts, NetworkBot | None]:
    """Say what is known of a corpus before anything is chosen.

    Returns:
        What was asked for, with all that the corpus decides; its facts; the bot to start from.

    Raises:
        ElmanError: where a bot is named to start from that has other tokens.
    """
    view, wanted = index.view, wanted_base(asked)
    base, name = None, None
    if wanted is not None:
        known_bots = BUILT_IN_BOTS.items()
        fits = (n for n, path in known_bots if read_tokenizer(path).digest == tokenizer.digest)
        name = next(fits, None) if wanted == AUTO else wanted
        base = None if name is None else load_network_bot(name, trust=trust)
        if base is None:
            tell.note(
                "the corpus has the tokens of no bot that comes with Elman, so this bot starts "
                "from nothing; a corpus that is built with --tokenizer base, or --tokenizer "
                "languages, can start from one"
            )
        elif base.tokenizer.digest != tokenizer.digest:
            raise ElmanError(
                f"{wanted}: its tokens are not those of {asked.data.path}; build the corpus with "
                f"--tokenizer {wanted}, or start from nothing with --base none"
            )
    decided: dict[str, Any] = {
        **{name: getattr(view, name) for name in ("split", "redact", "rename", "test", "encoding")},
        "vocabulary": tokenizer.vocabulary_size,
        "max_text_bytes": None,  # what is not read takes no time
    }
    start = None if base is None else wanted
    asked = asked.changed(data=decided, train={"base": start})
    known = DataFacts(
        text_bytes=index.text_bytes,
        bot=view.bot,
        others=view.others,
        known=tuple(index.known),
        gap=view.gap,
        dropped=tuple(view.drop),
        selection="all",
        base=None if base is None else _base_facts(str(name), base),
    )
    return asked, known, base


def _base_facts(name: str, base: NetworkBot) -> BaseFacts:
    return BaseFacts(
        name=name,
        path=str(base.path),
        model=ModelConfig.model_validate(base.config["model"]),
        vocabulary_size=base.tokenizer.vocabulary_size,
        token_bytes=1.0,
        new_token_bytes=1.0,
    )
