"""Make one of two people in a conversation the bot, and tidy what both say."""

import re
from collections.abc import Iterable
from hashlib import sha1
from random import Random

from taught import BOT, FIRST_NAMES, USER, Turn, Turns

from elman.data.rename import is_word

LOWER_NAMES = {name.lower() for name in FIRST_NAMES}
INTRODUCES = re.compile(
    r"\b(?:my name is|my names|my name's|i am|i'm|im|call me|this is|name is)\s+([A-Za-z]+)\b(?!')",
    re.IGNORECASE,
)
PLACEHOLDER = re.compile(
    r"(?:\[|\()"
    r"(?:user ?[12]|name|your name|my name|insert name|persona ?\d|friend)[^\])]*"
    r"(?:\]|\))",
    re.IGNORECASE,
)


def hashed(text: str) -> int:
    return int(sha1(text.encode()).hexdigest(), 16)


def joined(turns: Iterable[Turn]) -> Turns:
    """Join what one speaker said in a row, leave out empty turns, and even out the blanks."""
    out: Turns = []
    for speaker, text in turns:
        words = " ".join(text.split())
        if words and out and out[-1].speaker == speaker:
            out[-1] = Turn(speaker, f"{out[-1].text} {words}")
        elif words:
            out.append(Turn(speaker, words))
    return out


def tidied(text: str) -> str:
    """Write plain quotes, no blank before a mark, "I" for "i", and a capital at the beginning."""
    text = text.replace("\u2019", "'").replace("\u201c", '"').replace("\u201d", '"')
    text = re.sub(r"\s+([.,!?])", r"\1", text)
    text = re.sub(r"\bi\b(?=[ '])", "I", text)
    return text[:1].upper() + text[1:]


def with_roles(id_: str, turns: Turns, side: int = 0, tidy: bool = True) -> Turns:
    """Make one of two people the bot, which is called Elman wherever that person was named.

    Args:
        id_: of the conversation; its hash says who is the bot.
        turns: of two people.
        side: 0, or 1 for the other person.
        tidy: whether texts are tidied too.

    Returns:
        Nothing where there are not two people.
    """
    people = list(dict.fromkeys(turn.speaker for turn in turns))
    if len(people) != 2:
        return []
    bot = people[(hashed("role" + id_) + side) % 2]
    user_name = Random(hashed("n" + id_)).choice(FIRST_NAMES)
    own_names = {
        name.lower()
        for speaker, text in turns
        if speaker == bot
        for name in INTRODUCES.findall(text)
        if name.lower() in LOWER_NAMES and (name[0].isupper() or not is_word(name))
    }
    own = re.compile(rf"\b({'|'.join(sorted(own_names))})\b", re.IGNORECASE)

    def named(text: str, speaker: str) -> str:
        def fill(match: re.Match[str]) -> str:
            numbers = [person for person, n in zip(people, "12", strict=True) if n in match[0]]
            return BOT if [*numbers, speaker][0] == bot else user_name

        text = PLACEHOLDER.sub(fill, text)
        return own.sub(BOT, text) if own_names else text

    out = []
    for speaker, text in turns:
        text = named(text, speaker)
        out.append(Turn(BOT if speaker == bot else USER, tidied(text) if tidy else text))
    return out
