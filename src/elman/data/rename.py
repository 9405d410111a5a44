"""Invented names for people, the same everywhere for the same person.

Authors get one, and so do mentions of them: their full names, and the parts of their names
("Schmidt", "Jean" of "Jean-Luc"), as whole words in any case, with or without an "@" before them.

The limits, which are those of a rule without a language:

- a part that several people share is taken for the one of them who wrote most;
- parts that are English words ("Will", "May") count only with a capital and within a sentence;
  those of other languages are replaced wherever they stand;
- names of one or two letters count only after an "@", and initials not at all;
- nicknames ("Mimi" for Mira), misspelled names and people who never wrote stay as they are.
"""

import re
from collections.abc import Iterator, Mapping, Set
from itertools import count

from elman.data.conversation import SYSTEM, Message

NAMES = (
    "Kim", "Robin", "Alex", "Noa", "Sasha", "Luca", "Ari", "Jules", "Mika", "Remi", "Yuri", "Nico",
    "Toni", "Kai", "Eden", "Lior", "Dana", "Rene", "Sami", "Juno", "Zoe", "Ivo", "Lena", "Omar",
    "Mina", "Hugo", "Aiko", "Ravi", "Nora", "Emil", "Tara", "Ines", "Otto", "Lila", "Enzo", "Maya",
    "Igor", "Suri", "Anton", "Leila", "Bruno", "Hana", "Oskar", "Priya", "Tomas", "Vera", "Amir",
    "Elif", "Jonas", "Keiko", "Pablo", "Selma", "Dario", "Freya", "Kofi", "Marta", "Nils", "Olga",
    "Rosa", "Theo",
)  # fmt: skip
"""Short and from everywhere. More people than these are called "Kim 2" and so on."""

_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        ace angel april art august autumn bay bear bill bishop blaze blue brook brown buck bud
        buddy cat chance chase chip clay cliff cook cool dash daisy dawn dean death destiny don
        ever faith fisher forest fox frank gay ginger good grace grant gray green guy hall happy
        hazel hill honey hope hunter iris ivy jack jade jay jet jewel joy june justice king
        knight lane lee lily love major man mark may melody mercy miles misty moon more nick
        noble nova olive page pat patience peace pearl penny pepper piper poppy price prince
        rain ray reed rich river rob rock rocky rose ruby sage sandy scout shade sky skip snow
        star sterling stone storm sue summer sunny temple tiger trinity violet wade ward wells
        west white will willow winter wood wren young admin bot chat family friend girl group
        guest home info mom mum dad mama papa baby new number old phone test the unknown user
        work von van der den del dos las los bin ibn san and
        """,
    )
)
"""Names, or parts of what people call themselves, that are words as well."""

# Scripts that put no spaces between words, or fasten other words to a name.
_FASTENED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SENTENCE_BEGINS = re.compile(r"(?:^|[.!?:\u2026\n])[\s\"'(]*$")
_WORD = re.compile(r"\w+")
_MIN_PART_LETTERS = 3


class Pseudonyms:
    """Renames the people of a chat.

    Args:
        people: how many messages each wrote, by name. Who wrote most is named first, so the same
            people get the same names.
        keep: those of them who keep their names.
    """

    def __init__(self, people: Mapping[str, int], keep: frozenset[str] = frozenset()) -> None:
        kept = keep | {SYSTEM}
        ranked = sorted(people.keys() - kept, key=lambda name: (-people[name], name))
        real = {_key(form) for name in people.keys() | kept for form in (name, *_parts(name))}
        invented = (name for name in _invented() if _key(name) not in real)
        self._names = dict(zip(ranked, invented, strict=False))
        self._keep = kept
        staying = {_key(form) for name in kept for form in (name, *_parts(name))}
        called = [(name, name) for name in ranked]
        called += [
            (part, name)
            for name in ranked
            for part in _parts(name)
            if _key(part) not in _WORDS or part[0].isupper()  # not "von"
        ]
        called = [(form, name) for form, name in called if _key(form) not in staying]
        self._forms: dict[str, str] = {}
        for form, name in called:
            self._forms.setdefault(_key(form), self._names[name])
        self._mention = _mention({form for form, _ in called})
        # Most messages mention nobody, which their words tell sooner than a long pattern does.
        begins = [_WORD.search(form) for form, _ in called]
        self._begins = {_key(match[0]) for match in begins if match}
        self._is_seen = all(begins) and not any(_FASTENED.search(form) for form, _ in called)

    @property
    def names(self) -> dict[str, str]:
        """The invented name of each real one."""
        return dict(self._names)

    def message(self, message: Message) -> Message:
        """Put a message under its author's invented name, with those of others in its text.

        Raises:
            KeyError: if its author was not among the people.
        """
        author = message.author
        if author not in self._keep:
            author = self._names[author]
        return message._replace(author=author, text=self.text(message.text))

    def text(self, text: str) -> str:
        """Put invented names in the place of the people in a text."""
        if self._mention is None:
            return text
        if self._is_seen and self._begins.isdisjoint(map(_key, _WORD.findall(text))):
            return text
        return self._mention.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        at, form = match.groups()
        key = _key(form)
        name = self._forms.get(key)
        if name is None:
            return match[0]
        if not at:
            if len(key) < _MIN_PART_LETTERS and not _FASTENED.search(key):
                return match[0]
            if key in _WORDS and (
                not form[0].isupper()
                or _SENTENCE_BEGINS.search(match.string, max(match.start() - 8, 0), match.start())
            ):
                return match[0]
        return at + name


def is_word(name: str) -> bool:
    """Say whether a name is an English word as well, so that only a capital tells it apart."""
    return _key(name) in _WORDS


def _invented() -> Iterator[str]:
    yield from NAMES
    for number in count(2):
        yield from (f"{name} {number}" for name in NAMES)


def _key(name: str) -> str:
    """Return one spelling for all that count as the same, such as the forms of the Turkish i."""
    return name.casefold().replace("i\u0307", "i").replace("\u0131", "i")


def _parts(name: str) -> Iterator[str]:
    """Yield what a person may be called, apart from the whole name."""
    name = name.partition("@")[0] or name  # of an address, nobody is called by the domain
    words = re.split(r"[\s,.()\"/|~_\[\]<>]+", name)
    pieces = [piece for word in words for piece in word.split("-")]
    for word in (*words, *pieces):
        letters = sum(map(str.isalpha, word))
        if word != name and letters >= (2 if _FASTENED.search(word) else _MIN_PART_LETTERS):
            yield word
    if not any(map(str.isalpha, name)) and (digits := re.sub(r"\D", "", name)) != name:
        yield digits  # how messengers mention a person without a name


def _mention(forms: Set[str]) -> re.Pattern[str] | None:
    """Return a pattern of any of the forms, the longest first; None: there are none."""
    # "Weiß" is not "WEISS" to a pattern.
    spellings = {form for form in forms if form} | {_key(form) for form in forms if form}
    if not spellings:
        return None
    ranked = sorted(spellings, key=lambda form: (-len(form), form))
    spaced = [re.escape(form) for form in ranked if not _FASTENED.search(form)]
    fastened = [re.escape(form) for form in ranked if _FASTENED.search(form)]
    ways = [rf"(?<!\w)(?:{'|'.join(spaced)})(?!\w)"] if spaced else []
    return re.compile(rf"(@?)({'|'.join([*fastened, *ways])})", re.IGNORECASE)
