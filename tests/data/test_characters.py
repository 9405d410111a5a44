"""Held to Python's own decoder: what the automaton lets through is text that can be shown."""

import codecs
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.characters import Characters
from elman.data.tokenizer import END, MIN_VOCABULARY_SIZE, SPECIALS, Tokenizer

TEXTS = ["zażółć gęślą jaźń " * 3, "😀😁😂 " * 9, "مرحبا " * 9, "你好吗 " * 9, "Привет " * 9] * 3
BYTES = Tokenizer.train([], MIN_VOCABULARY_SIZE)
PIECES = Tokenizer.train(TEXTS, MIN_VOCABULARY_SIZE + 60)

UNSHOWN = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFFFD}


def may_be_said(code: int) -> bool:
    character = chr(code)
    control = unicodedata.category(character) == "Cc" and character not in "\t\n"
    return not (0xD800 <= code < 0xE000 or control or code in UNSHOWN)


def allowed(characters: Characters, said: list[int], left: int = 99) -> list[int]:
    logits = np.zeros((1, characters._after.shape[1]), np.float32)
    characters.refuse(logits, [said], [left])
    found = np.flatnonzero(np.isfinite(logits[0])).tolist()
    return [token for token in found if not 0 < token < SPECIALS]


def test_exactly_the_characters_that_can_be_shown_can_be_said() -> None:
    """Every path from between characters to between characters, byte by byte."""
    characters = BYTES.characters
    found = set()
    waiting: list[list[int]] = [[]]
    while waiting:
        said = waiting.pop()
        for token in allowed(characters, said):
            if token == END:
                continue
            if characters.are_whole([*said, token]):
                found.add(ord(BYTES.decode_bytes([*said, token]).decode()))
            else:
                waiting.append([*said, token])
    assert found == {code for code in range(sys.maxunicode + 1) if may_be_said(code)}


@given(st.binary(max_size=12))
@settings(deadline=None, max_examples=500)
def test_the_state_is_that_of_a_decoder(content: bytes) -> None:
    """Whole is what Python's decoder waits for nothing after, whatever bytes came before."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(content)
    said = [BYTES._id_of_byte[byte] for byte in content]
    waiting = decoder.getstate()[0]
    if b"\xed\xa0" <= waiting[:2] < b"\xee":  # the decoder waits for a surrogate, and refuses it
        waiting = b""
    assert BYTES.characters.are_whole(said) == (not waiting)


def test_half_a_surrogate_is_waited_for_by_nobody() -> None:
    for second in range(0xA0, 0xC0):
        assert BYTES.characters.are_whole([BYTES._id_of_byte[byte] for byte in (0xED, second)])


@pytest.mark.parametrize("tokenizer", [BYTES, PIECES], ids=["bytes", "pieces"])
@given(seed=st.integers(0, 2**32), longest=st.integers(1, 9), wish=st.integers(0, 3))
@settings(deadline=None, max_examples=150)
def test_whatever_is_drawn_is_whole(
    tokenizer: Tokenizer, seed: int, longest: int, wish: int
) -> None:
    """Random choices among what is not refused, ended by their length."""
    characters = tokenizer.characters
    rng = np.random.default_rng(seed)
    said: list[int] = []
    while len(said) < longest:
        left = longest - len(said)
        choices = [token for token in allowed(characters, said, left) if token != END or said]
        long = [token for token in choices if token != END and tokenizer.spelled(token) > b"\x7f"]
        token = int(rng.choice(long if wish and long else choices))
        if token == END or not characters.fits(said, token, left):
            break
        said.append(token)
    assert said
    text = tokenizer.decode_bytes(said).decode()  # strictly
    assert all(may_be_said(ord(character)) for character in text)


@given(st.text(max_size=20), st.integers(0, 60))
@settings(deadline=None, max_examples=200)
def test_a_beginning_is_the_longest_of_whole_characters(text: str, longest: int) -> None:
    text = "".join(character for character in text if may_be_said(ord(character)))
    for tokenizer in (BYTES, PIECES):
        ids = tokenizer.encode(text)
        begun = tokenizer.characters.beginning(ids, longest)
        assert list(begun) == ids[: len(begun)]
        assert len(begun) <= longest
        assert text.startswith(tokenizer.decode_bytes(begun).decode())
        for end in range(len(begun) + 1, min(longest, len(ids)) + 1):
            with pytest.raises(UnicodeDecodeError):
                tokenizer.decode_bytes(ids[:end]).decode()


def test_a_character_that_was_begun_is_finished_where_too_few_tokens_are_left() -> None:
    begun = BYTES.encode(b"\xf0\x9f")
    for left in (0, 1, 2, 9):
        found = {BYTES.spelled(token)[0] for token in allowed(BYTES.characters, begun, left)}
        assert found == set(range(0x80, 0xC0))
