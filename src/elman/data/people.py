"""Who is in some conversations, and how a name that somebody gives is matched."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from elman.errors import ElmanError

MAX_KNOWN_PEOPLE = 50
"""People whom a bot meets by name, as its configuration lists them."""

MAX_LISTED_PEOPLE = 20
"""People who are named where a name is nobody's."""


@dataclass(frozen=True)
class People:
    """The people of a source by their real names.

    Args:
        messages: how many each wrote.
    """

    messages: Counter[str]

    def has(self, name: str) -> bool:
        """Return whether somebody has exactly that name, or that digest."""
        return any(name in (real, digest(real)) for real in self.messages)

    def find(self, name: str, option: str) -> str:
        """Find the real name: as it is written, from its digest or its redacted form, or where only
        case, spaces around it or the form of accents differ.

        Args:
            option: where the name was given, such as "--bot".

        Raises:
            ElmanError: where nobody or more than one person is called so; it lists who is there.
        """
        if name in self.messages:
            return name
        hidden = [real for real in self.messages if name == digest(real) or is_redacted(name, real)]
        alike = [real for real in self.messages if _folded(real) == _folded(name)]
        if len(found := hidden or alike) == 1:
            return found[0]
        listed = self.messages.most_common(MAX_LISTED_PEOPLE)
        names = [f"{each} ({number:,} messages)" for each, number in listed]
        rest = len(self.messages) - len(listed)
        more = f" and {rest:,} more" if rest else ""
        raise ElmanError(
            f"{option} {name!r}: nobody has that name; there are {', '.join(names)}{more}"
        )


def known(messages: Counter[str], bot: str | None) -> tuple[str, ...]:
    """List whom a bot meets by name, who wrote most first; of many, the first few."""
    names = (name for name, _ in messages.most_common() if name != bot)
    return tuple(islice(names, MAX_KNOWN_PEOPLE))


def dropped(names: Iterable[str], hide: bool) -> tuple[str, ...]:
    """List who is left out as a configuration keeps it: as digests, where names are hidden."""
    return tuple(sorted(digest(name) if hide else name for name in names))


def digest(name: str) -> str:
    """Stand for a name in a file that must not have it."""
    return "#" + hashlib.sha256(name.encode(errors="replace")).hexdigest()[:12]


def is_redacted(name: str, real: str) -> bool:
    """Return whether a name is what redacting makes of a real one."""
    if not name.startswith("["):
        return False
    from elman.data.redact import Redactor

    return Redactor().name(real) == name


def _folded(name: str) -> str:
    """Leave out of a name what people do not see in it, or do not mind."""
    return unicodedata.normalize("NFC", name).replace("\ufe0f", "").strip().casefold()
