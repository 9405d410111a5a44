"""Kind, fixed answers by rule, where a small net must not improvise: insults, despair, danger.

Phrases and answers are data, in care.json: for each kind, the gravest first, and each language. A
phrase is a pattern of small letters, in which ’ is written ' and each run of spaces is one;
<names> stand for parts that many phrases share. A phrase says who does what to whom: "this game
kills me" and "I could kill for a pizza" are talk like any other, and the net answers them.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from elman.data.source import BUILT_IN
from elman.data.untrusted import parse_json, read_text, validated
from elman.model.folder import BUILT_IN_BOTS

CARE_FILE = Path(__file__).with_name("care.json")

MAX_CARE_FILE_BYTES = 1 << 20

MAX_CARED_WORDS = 60
"""Words of a message; a longer one was pasted, and tells of others."""


class Rule(BaseModel):
    """What is said in one language, and what is answered.

    Args:
        phrases: patterns; one of them is found in the message.
        answers: given in turn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    phrases: tuple[str, ...] = Field(min_length=1)
    answers: tuple[str, ...] = Field(min_length=1)


class CareFile(BaseModel):
    """What care.json holds.

    Args:
        parts: what stands for what in phrases.
        kinds: the rules by kind and language.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: dict[str, str]
    kinds: dict[str, dict[str, Rule]]


@cache
def rules() -> dict[str, dict[str, Rule]]:
    """Return the rules by kind, the gravest first, and by language.

    Raises:
        ElmanError: where the file is damaged.
    """
    return _read().kinds


def cares(config: Mapping[str, Any]) -> bool:
    """Return whether rules answer for a bot, by its configuration.

    Where nobody says, they do for the base, and for a bot of the built-in conversations. Who makes
    a bot of her friends wants them to talk as they do.
    """
    given = config.get("reply", {}).get("care")
    from_here = config.get("data", {}).get("path") in (*BUILT_IN_BOTS, BUILT_IN)
    return from_here if given is None else bool(given)


def care(text: str, said: Iterable[str] = ()) -> str | None:
    """Return what is answered by rule; None: no rule is for this message.

    Args:
        text: the message.
        said: what the bot said lately, the last first, so that answers take turns.
    """
    plain = " ".join(text.lower().replace("\u2019", "'").split())
    if plain.count(" ") >= MAX_CARED_WORDS:
        return None
    for pattern, answers in patterns():
        if pattern.search(plain):
            last = next((answers.index(each) for each in said if each in answers), -1)
            return answers[(last + 1) % len(answers)]
    return None


@cache
def _read() -> CareFile:
    given = parse_json(read_text(CARE_FILE, MAX_CARE_FILE_BYTES), CARE_FILE)
    return validated(CareFile, given, CARE_FILE)


@cache
def patterns() -> list[tuple[re.Pattern[str], tuple[str, ...]]]:
    """Compile each rule's phrases into one pattern; return each with its answers."""
    parts = _read().parts
    found = []
    for languages in rules().values():
        for rule in languages.values():
            pattern = "|".join(f"(?:{phrase})" for phrase in rule.phrases)
            for name, part in parts.items():
                pattern = pattern.replace(name, part)
            found.append((re.compile(pattern), rule.answers))
    return found
