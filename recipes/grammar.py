"""Wordings of wordings.json: many texts in one line.

`[a|b]` is one of both, `<name>` a shared part, and `{v}` a value. Of "where do I live / where I
live" the first is asked alone, the second as part of a sentence.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

WORDINGS: dict[str, Any] = json.loads(Path(__file__).with_name("wordings.json").read_text("utf-8"))

YOURS = {
    "my": "your",
    "I": "you",
    "am": "are",
    "me": "you",
    "was I": "were you",
    "I was": "you were",
}


def drawn(text: str, random: Random, **values: str) -> str:
    """Draw one of the texts that a wording stands for, with a capital where a sentence begins."""
    text = with_parts(text)
    while "[" in text:
        text = re.sub(r"\[([^\[\]]*)\]", lambda m: random.choice(m[1].split("|")), text)
    text = re.sub(r" +(?=[ '.?!])", "", text.format_map(values)).strip()
    return re.sub(r"(?:^|(?<=[.?!] ))[a-z]", lambda m: m[0].upper(), text)


def with_parts(text: str) -> str:
    """Write the shared parts out."""
    return re.sub(r"<([\w ]+)>", lambda match: WORDINGS["parts"][match[1]], text)


def pattern(text: str) -> re.Pattern[str]:
    """Return what matches each text that a wording stands for, without its last mark.

    Any word fits as a value. Blanks, which `drawn` evens out, are left out of both.
    """
    groups = {"[": "(?:", "]": ")", "|": "|"}
    found = "".join(
        groups.get(part) or re.sub(r"\\\{\w+\\\}", r"\\w+", re.escape(part))
        for part in re.split(r"([\[\]|])", with_parts(text).replace(" ", "").rstrip(".?!"))
    )
    return re.compile(found, re.IGNORECASE)


def clauses(question: str) -> tuple[str, str]:
    """Split a question into how it is asked alone and as part of a sentence."""
    alone, _, part = question.partition(" / ")
    return alone, part


def yours(text: str) -> str:
    """Say of the user what the user says of itself: "my" becomes "your"."""
    return re.sub(r"\b(?:was I|I was|my|I|am|me)\b", lambda match: YOURS[match[0]], text)


def lowered(text: str, name: str = "") -> str:
    """Begin with a small letter, but for "I" and for a name."""
    keep = text.startswith(("I ", "I'")) or (name[:1].isupper() and text.startswith(name))
    return text if keep else text[:1].lower() + text[1:]


def said_by_users() -> Iterator[str]:
    """Write every wording that a user says, as a whole message."""
    for fact in WORDINGS["facts"].values():
        own = [("<begin>{q}<you know>", each) for each in fact["told"]]
        own += [(how, each) for how in WORDINGS["things"] for each in fact["thing"]]
        own += [("{q}?", each) for each in fact["check"]]
        own += _asked(fact["questions"], WORDINGS["asked"])
        people = f"[{'|'.join(fact.get('for', []))}]"
        yield from (how.replace("{q}", each).replace("{p}", people) for how, each in own)
    for own in WORDINGS["own"].values():
        asked = _asked(own["questions"], WORDINGS["own_asked"])
        yield from (how.replace("{q}", each) for how, each in asked)
        for kind in ("said", "yes", "check"):
            yield from (f"<oh>{each}" for each in own.get(kind, []))
    yield from (f"<oh>{each}" for each in WORDINGS["world"]["asked"])
    for kind in ("good", "bad"):
        yield from (f"<begin>{each}" for each in WORDINGS["events"][kind]["said"])
    habits = WORDINGS["habits"]
    when = f"[{'|'.join(habits['when'])}]"
    for verb in habits["verbs"]:
        plain, third = clauses(verb)
        for who, does, do in (("I", "do", plain), ("my <relative>", "does", third)):
            values = {"{w}": who, "{a}": does, "{b}": plain, "{d}": do, "{t}": when}
            asked = _asked([habits["question"]], WORDINGS["asked"])
            for text in [*habits["told"], *(how.replace("{q}", each) for how, each in asked)]:
                for name, value in values.items():
                    text = text.replace(name, value)
                yield text


def _asked(questions: list[str], how: dict[str, list[str]]) -> list[tuple[str, str]]:
    both = list(map(clauses, questions))
    alone = [(wording, each) for wording in how["direct"] for each, _ in both]
    return alone + [(wording, each) for wording in how["indirect"] for _, each in both]
