"""What somebody told, as another says it back: "I live in Lisbon" becomes "You live in Lisbon"."""

import re
from collections.abc import Iterator

MAX_TOLD_WORDS = 20
"""Words of a sentence; of a longer one its parts between commas are told back each alone."""

_SENTENCE = re.compile(r"(?<=[.!?\u2026])\s+|\n+|\s+[-\u2013\u2014]\s+|;\s+")
_PART = re.compile(
    r",\s+(?:and|but|so|which|because)\s+|,\s+|\s+(?:and|but)\s+(?=(?:i|my|we)\b)", re.I
)

_LEAD_IN = re.compile(
    r"""^(?:
        (?:well|oh|so|hey|hi|hello|yes|yeah|yep|yup|no|nope|nah|ok|okay|and|but|also|plus|actually
        |by\ the\ way|btw|anyway|honestly|to\ be\ honest|guess\ what|you\ know(?:\ what)?|sorry
        |hm+|um+|ah|haha|lol|just\ so\ you\ know|fyi|wait|sure|right|see|look|listen|fun\ fact
        |for\ your\ information|remember\ this|remember|thanks|thank\ you|please|elman|then|now)
        (?:[,:!.\s]+|$)
    )+""",
    re.IGNORECASE | re.VERBOSE,
)

_FRAGMENT = re.compile(
    r"(?:in|at|to|from|on|with|for|by|because|since|until|about|of|near|not|only|like|as|than|too"
    r"|call|ask|tell|let|make|take|try|put|give|keep|say|take|write|wish)\b",
    re.IGNORECASE,
)
"""How what is no sentence that tells something begins: it is quoted."""

ASKING = re.compile(
    r"(?:(?:and|but|so|ok|okay|well|hey|hi|please|now|oh)[, ]+)*(?:what|who|whose|how|why|where"
    r"|when|which|can|could|should|shall|would|do|does|did|is|are|am|will|any idea|tell me"
    r"|give me|help|explain|say|show|name|describe|sing|let'?s)\b",
    re.IGNORECASE,
)
"""How a message begins that asks for something."""

_APOSTROPHES = str.maketrans("\u2019\u02bc", "''")

_TURNS = (
    (r"i'm not|im not|i am not|i ain't", "you are not"),
    (r"i'm|im|i am", "you are"),
    (r"am i", "are you"),
    (r"i was", "you were"),
    (r"was i", "were you"),
    (r"i wasn't", "you weren't"),
    (r"i've|ive", "you have"),
    (r"i'd", "you would"),
    (r"i'll", "you will"),
    (r"we're", "you are"),
    (r"we've", "you have"),
    (r"we'll", "you will"),
    (r"i|we|me|us", "you"),
    (r"my|our", "your"),
    (r"mine|ours", "yours"),
    (r"myself|ourselves", "yourself"),
)
_TURN = re.compile(
    r"(?<![\w'])(?:" + "|".join(f"({pattern})" for pattern, _ in _TURNS) + r")(?![\w']|\.\w)", re.I
)
_ABOUT_BOT = re.compile(r"(?<![\w'])(?:you|your|yours|yourself|u|ur|you're|you've)(?![\w'])", re.I)
_FIRST_WORDS = re.compile(r"\b(?:i had|i would)\b", re.I)


def sentences(message: str) -> Iterator[str]:
    """Take a message apart into what can be told back: its statements, without "well" and "by the
    way". What asks is left out.
    """
    for sentence in _SENTENCE.split(message.translate(_APOSTROPHES).strip()):
        whole = _LEAD_IN.sub("", sentence.strip())
        if not whole.strip(" .!") or whole.endswith("?") or ASKING.match(whole):
            continue
        yield whole
        if len(whole.split()) > MAX_TOLD_WORDS:
            yield from (part for part in _PART.split(whole) if len(part.split()) > 2)


def turned(sentence: str) -> str:
    """Say back what somebody said of themself; what cannot be turned is quoted."""
    plain = sentence.translate(_APOSTROPHES).strip().rstrip(".!,;: ")
    if _ABOUT_BOT.search(plain) or _FRAGMENT.match(plain) or len(plain.split()) < 2:
        return f'You said: "{plain[:1].upper()}{plain[1:]}."'
    found = _TURN.sub(lambda match: _TURNS[(match.lastindex or 1) - 1][1], plain)
    return f"{found[:1].upper()}{found[1:]}."
