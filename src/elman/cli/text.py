"""Text from conversations on a terminal: shown, never obeyed."""

import unicodedata


def plain(text: str) -> str:
    """Text without characters that a terminal would act on; newlines and tabs stay."""
    return "".join(
        character
        if character in "\n\t"
        or unicodedata.category(character) not in ("Cc", "Cf")
        or character == "\u200d"  # joins emoji
        else "\ufffd"
        for character in text
    )
