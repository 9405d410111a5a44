"""What somebody told, as another says it back: "I live in Lisbon" becomes "You live in Lisbon"."""

import re
from collections.abc import Iterator

from elman.generate.manners import QUESTION_MARKS

MAX_TOLD_WORDS = 20
"""Words of a sentence; of a longer one its parts between commas may be told back alone too."""

_SENTENCE = re.compile(r"(?<=[.!?\u2026])\s+|\n+|\s+[-\u2013\u2014]\s+|;\s+")
_PART = re.compile(
    r",\s+(?:and|but|so|which|because)\s+|,\s+|\s+(?:and|but)\s+(?=(?:i|my|we)\b)", re.I
)

_LEAD_IN = re.compile(
    r"""^(?:
        (?:oh|hey|hi|hello|yes|yeah|yep|yup|ok|okay|and|but|also|plus|actually|by\ the\ way|btw
        |anyway|honestly|to\ be\ honest|guess\ what|you\ know\ what|hm+|um+|ah|haha|lol
        |just\ so\ you\ know|fyi|fun\ fact|for\ your\ information|remember\ this|elman
        )(?:[,:!.\s]+|$)
        | (?:well|so|no|nope|nah|sorry|wait|sure|right|see|look|listen|remember|thanks|thank\ you
        |please|then|now|you\ know)(?:[,:!.]+\s*|$)
    )+""",
    re.IGNORECASE | re.VERBOSE,
)
"""What leads to a statement, and is left out; "no" without a comma is a part of it."""

_FRAGMENT = re.compile(
    r"(?:in|at|to|from|on|with|for|by|because|since|until|about|of|near|not|only|like|as|than|too"
    r"|call|ask|tell|let|make|take|try|put|give|keep|say|take|write|wish)\b",
    re.IGNORECASE,
)
"""How what is no sentence that tells something begins: it is quoted."""

ASKING = re.compile(
    r"""(?:(?:and|but|so|ok|okay|well|hey|hi|please|now|oh)[,\ ]+)*(?:
        (?:what|who|whose|how|why|when|where|which)
        (?:\ (?!(?:i|he|she|it|we|they|you|my)\b)\w+){0,2}
        \ (?:do|does|did|is|are|was|were|am|can|could|will|would|should|shall|have|has)
        | (?:do|does|did|can|could|will|would|should|shall|is|are|am)
        \ (?:i|you|u|he|she|it|we|they|the|my|your|this|that|there|anybody|anyone|somebody|someone)
        | any\ idea | tell\ me | give\ me | help\ me | explain | show\ me | remind\ me | describe
        | say\ (?:who|what|where|when|why|how|which|my|your|the|it) | name\ (?:my|your|the|one|a)
        | repeat | how\ to | what\ about | how\ about
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
"""How a message begins that asks for something, with a question mark or without."""

_APOSTROPHES = str.maketrans("\u2019\u02bc", "''")

_TURNS = (
    (r"i'm not|im not|i am not|i ain't", "you are not"),
    (r"i'm|im|i am", "you are"),
    (r"am i", "are you"),
    (r"i was", "you were"),
    (r"was i", "were you"),
    (r"i wasn't", "you weren't"),
    (r"i've|ive", "you have"),
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
_UNSURE = re.compile(
    r"(?<![\w'])(?:[Ii]'d|US)(?![\w'])|\b(?:an?|the|this|that) mine\b|\b[A-Z]\.[A-Z]\b"
)
"""What may be turned in two ways, or not at all."""

_INTRODUCTION = re.compile(
    r"(?:(?i:i'm|i\ am)(?i:\ called)?|(?i:(?:you\ can|please|just)?\ ?call\ me))"
    r"\ (?P<name>[A-Z][^\W\d_]{1,20})(?=[.,!]|$|\ (?:and|from|but)\b|\ [A-Z][^\W\d_]+[.,!]?$)"
    r"|(?P<here>[A-Z][^\W\d_]{1,20})\ here(?=[.,!]|$)"
)
_NO_NAMES = frozenset(
    re.findall(
        r"\w+",
        """
        African American Arab Argentinian Asian Atheist Australian Austrian Autistic Back
        Bangladeshi Belgian Black Brazilian British Buddhist Busy Canadian Catholic Chilean
        Chinese Colombian Come Croatian Cuban Czech Danish Done Dutch Egyptian English European
        Everyone Fine Finnish French Friday German Good Greek Happy Here Hindu Home Hungarian
        Hungry Icelandic Indian Indonesian Iranian Iraqi Irish Israeli Italian Japanese Jewish
        Kenyan Korean Late Living Me Mexican Monday Muslim New Nigerian Nobody Norwegian Nothing
        Off Ok Okay Out Over Pakistani Peruvian Polish Portuguese Protestant Ready Right Romanian
        Russian Sad Same Saturday Scottish Serbian Sick Sikh Sitting Sorry Spanish Still Stuck
        Sunday Sure Swedish Swiss Syrian Thai Thursday Tired Tuesday Turkish Ukrainian Up Vegan
        Vegetarian Vietnamese Wednesday Welsh White You
        """,
    )
)
"""What people say that they are, with a capital, and are not called."""

_SPACES = re.compile(r"[^\S\n]+")


def statements(message: str) -> Iterator[str]:
    """Take a message apart into what can be told back: its statements, without "well" and "by the
    way". What asks is left out.
    """
    plain = _SPACES.sub(" ", message.translate(_APOSTROPHES)).strip()
    for sentence in _SENTENCE.split(plain):
        whole = _LEAD_IN.sub("", sentence.strip())
        asks = whole.rstrip(" .!\u2026").endswith(QUESTION_MARKS) or ASKING.match(whole)
        if asks or not whole.strip(" .!"):
            continue
        yield whole
        if len(whole.split()) > MAX_TOLD_WORDS:
            yield from (part for part in _PART.split(whole) if len(part.split()) > 2)


def introduced(sentence: str) -> str | None:
    """Return the name by which a sentence introduces the user ("I'm Nina and I'm a nurse")."""
    found = _INTRODUCTION.match(sentence.translate(_APOSTROPHES))
    name = found and (found["name"] or found["here"])
    return None if name in _NO_NAMES else name


def turned(sentence: str) -> str:
    """Say back what somebody said of themself; what cannot be turned is quoted."""
    plain = sentence.translate(_APOSTROPHES).strip().rstrip(".!,;: ")
    if (
        _ABOUT_BOT.search(plain)
        or _UNSURE.search(plain)
        or _FRAGMENT.match(plain)
        or len(plain.split()) < 2
    ):
        return f'You said: "{plain[:1].upper()}{plain[1:]}."'
    found = _TURN.sub(lambda match: _TURNS[(match.lastindex or 1) - 1][1], plain)
    return f"{found[:1].upper()}{found[1:]}."
