"""A terminal: text from conversations is shown there and never obeyed."""

import io
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from elman.errors import ElmanError

if TYPE_CHECKING:
    from rich.console import Console

# What a terminal would act on: control characters, and those that turn the direction of what
# follows. Joiners of Persian and Indic letters and of emoji, the tags of flags, and the marks of
# Arabic and Hebrew text, which reach no further than the character beside them, are text.
_OVERRIDES = "\u202d\u202e"
_LEFT_OUT = dict.fromkeys([0x0D, *range(0x202A, 0x202D), *range(0x2066, 0x206A)])
"""What stands before a newline in files of Windows, and what chat programs put, unseen, around
every name that is mentioned.
"""


def plain(text: str) -> str:
    """Replace the characters of a text that a terminal would act on; newlines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in "\n\t"
        or (unicodedata.category(character) != "Cc" and character not in _OVERRIDES)
        else "\ufffd"
        for character in text.translate(_LEFT_OUT)
    )


def tell(text: str) -> None:
    """Say something beside what a command prints, on standard error."""
    print(plain(text), file=sys.stderr, flush=True)


@contextmanager
def telling_errors() -> Iterator[None]:
    """Say what is wrong with what was given as one line, and exit with code 2."""
    for stream in (sys.stdout, sys.stderr):
        # Where an old encoding lacks a character, it is replaced: nothing ends for it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        yield
    except ElmanError as error:
        tell(f"elman: {' '.join(str(error).splitlines())}")
        sys.exit(2)
    except MemoryError as error:
        why = str(error) or "end other programs, or take a smaller bot"
        tell(f"elman: out of memory: {why}")
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read our output has gone; writing the rest at exit would fail again.
        sys.stdout = None
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        tell(f"elman: {where}{error.strerror or error}")
        sys.exit(2)


def console(*, stderr: bool = False) -> "Console":
    """Make what prints tables and styled lines."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def is_interactive() -> bool:
    """Tell whether a person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()


@contextmanager
def status(title: str = "") -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being done; what is yielded is told of it."""
    from rich.markup import escape

    with console(stderr=True).status(escape(plain(title))) as shown:
        yield lambda text: shown.update(escape(plain(text)))
