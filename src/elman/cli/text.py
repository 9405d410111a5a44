"""Text from conversations on a terminal: shown, never obeyed."""

import unicodedata

# What a terminal would act on: control characters, and those that turn the direction of what
# follows. Joiners of Persian and Indic letters and of emoji, and the tags of flags, are text.
_TURNING = set(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)))


def plain(text: str) -> str:
    """Text without characters that a terminal would act on; newlines and tabs stay."""
    return "".join(
        character
        if character in "\n\t"
        or (unicodedata.category(character) != "Cc" and character not in _TURNING)
        else "\ufffd"
        for character in text
    )
