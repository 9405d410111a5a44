"""Whether a reply asks what was just told: "How old is he?" after "My son is six"."""

import re

_NUMBER = r"""\d | \b(?: two|three|four|five|six|seven|eight|nine|ten|eleven|twelve
    |thirteen|(?:four|fif|six|seven|eigh|nine)teen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand
    |million|half|dozen )\b"""
_LASTING = r"""\b(?: (?:second|minute|hour|day|night|week|month|year|decade)s? | since | every
    | always | never | once | twice | times )\b"""
_TIME = r"""\d | \b(?: today|tonight|tomorrow|yesterday|next|last|ago|morning|noon|afternoon|evening
    |night|weekend|(?:mon|tues|wednes|thurs|fri|satur|sun)days?|january|february|march|april|june
    |july|august|september|october|november|december|spring|summer|autumn|winter )\b"""

_ASKED_AND_TOLD = [
    (re.compile(asked, re.IGNORECASE | re.VERBOSE), re.compile(told, re.IGNORECASE | re.VERBOSE))
    for asked, told in (
        (r"\bhow\ (?:old|many|much)\b[^?]{0,80}\?", _NUMBER),
        (r"\bhow\ (?:long|often)\b[^?]{0,80}\?", _LASTING),
        (
            r"\bhow\ far\b[^?]{0,80}\?",
            r"\b(?: miles?|meters?|metres?|km|kilomet\w+|minutes?|hours? )\b",
        ),
        (r"\bwhen\b[^?]{0,80}\? | \bwhat\ (?:time|day)\b", _TIME),
        (r"\babout\?", r"\babout\b"),
        (
            r"\b(?:name|called)\b[^?]{0,80}\?",
            r"\b(?:named?|called)\b | (?-i:(?<=[a-z,']\ )[A-Z][a-z]+)",
        ),
        (r"\bwhy\b[^?]{0,80}\?", r"\b(?:because|since)\b"),
        (
            r"\bcolou?r\b[^?]{0,80}\?",
            r"\b(?: red|blue|green|yellow|black|white|brown|gr[ea]y|orange|purple|pink )\b",
        ),
    )
]
"""What a reply may ask, and by which words a message tells it."""


def asks_what_is_told(reply: str, message: str) -> bool:
    """Tell whether a reply asks for what a message says: a number, a time, a name, a reason."""
    return any(asked.search(reply) and told.search(message) for asked, told in _ASKED_AND_TOLD)
