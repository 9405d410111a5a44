"""Text from conversations on a terminal: shown, never obeyed."""

import unicodedata

# What a terminal would act on: control characters, and those that turn the direction of what
# follows. Joiners of Persian and Indic letters and of emoji, the tags of flags, and the marks of
# Arabic and Hebrew text, which reach no further than the character beside them, are text.
_OVERRIDES = "\u202d\u202e"
_LEFT_OUT = dict.fromkeys([0x0D, *range(0x202A, 0x202D), *range(0x2066, 0x206A)])
"""What stands before a newline in files of Windows, and what chat programs put, unseen, around
every name that is mentioned.
"""


def plain(text: str) -> str:
    """Text without characters that a terminal would act on; newlines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in "\n\t"
        or (unicodedata.category(character) != "Cc" and character not in _OVERRIDES)
        else "\ufffd"
        for character in text.translate(_LEFT_OUT)
    )
