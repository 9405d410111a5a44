"""Of whom texts speak, and what they deny: "he" in a reply needs somebody who was spoken of."""

import re
from collections.abc import Collection, Iterable

from elman.generate.penalties import words_of
from elman.generate.stems import stems_of

_THIRD = {"he", "she", "him", "her", "his", "hers", "he's", "she's", "he'll", "she'll", "himself"}
_THIRD |= {"herself", "he'd", "she'd"}

_PERSONS = frozenset(
    stems_of(
        """mother mom mum mama mommy father dad daddy papa parent sister brother sibling son
        daughter child kid baby boy girl man woman guy lady wife husband partner fiance fiancee
        bride groom girlfriend boyfriend ex crush friend buddy mate neighbor neighbour colleague
        coworker boss manager chef teacher professor coach doctor nurse dentist vet therapist
        lawyer landlord roommate flatmate tenant guest visitor uncle aunt auntie cousin
        niece nephew grandma grandmother grandpa grandfather granny gran nan nana granddad
        grandson granddaughter grandchild somebody someone person student pupil client customer
        patient driver waiter cashier singer actor actress player writer author artist director
        president king queen dog puppy cat kitten pet horse bird parrot hamster rabbit animal
        who whoever everyone everybody nobody anyone  twin stepmother stepfather
        stepdad stepmom  who's"""
    )
)
"""Whoever may be "he" or "she"."""

_USER_IS = re.compile(
    r"\b(?:i'm|i am|im|i was|i work as) (?:an?|the) (?:[\w-]+ ?){1,2}", re.IGNORECASE
)
"""What the user is, who is not "he" or "she"."""

_NAME = re.compile(r"(?<=[\w,;:'\u2019] )[A-Z][a-z]+")
"""A word with a capital in the middle of a sentence."""


# Words that are another one without their ending or sign are left out: "shouldn't" is "should",
# "i'll" is "ill", "we're" is "were".
_DENYING = frozenset(
    stems_of(
        """not no never nobody nothing none without neither nor hardly don't doesn't didn't isn't
        aren't wasn't weren't can't cannot couldn't won't wouldn't haven't hasn't hadn't ain't"""
    )
)
_SPOKEN_OF = [
    frozenset(stems_of(words))
    for words in (
        "i i'm i've me my myself we we've us our ours ourselves",
        "you you're you've you'll your yours yourself u ur",
        "he he's he'd she she's him her hers his himself herself",
        "they they're they've they'll them their theirs themselves",
    )
]


def denies(stems: Collection[int]) -> bool:
    """Tell whether a text of these stems denies something."""
    return not _DENYING.isdisjoint(stems)


def other_persons(one: Collection[int], other: Collection[int]) -> float:
    """Tell how far two texts, of these stems, speak of other persons ("I", "you", "he", "they"):
    from 0, of the same ones, to 1.
    """
    first, second = (
        {n for n, words in enumerate(_SPOKEN_OF) if not words.isdisjoint(stems)}
        for stems in (one, other)
    )
    return len(first ^ second) / max(1, len(first | second))


def speaks_of_nobody(reply: str, before: Iterable[str]) -> bool:
    """Tell whether a reply says "he" or "she", and nobody was spoken of.

    Args:
        reply: that might be given.
        before: the last messages.
    """
    if _THIRD.isdisjoint(word.replace("\u2019", "'") for word in words_of(reply)):
        return False
    return not any(
        not _THIRD.isdisjoint(words_of(text))
        or not _PERSONS.isdisjoint(stems_of(text))
        or _NAME.search(text)
        for text in (_USER_IS.sub("", text.replace("\u2019", "'")) for text in before)
    )
