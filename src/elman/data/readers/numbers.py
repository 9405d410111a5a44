"""Numbers that Python's JSON knows and a parser for 64 bits does not, written so that both do."""

import math
import re
from typing import Protocol

# A text may go on, and so may a word, where the data ends.
_TOKEN = re.compile(rb'(?P<text>"(?:[^"\\]+|\\.)*)(?P<end>"?)|[-+.\w]+', re.DOTALL)
_INTEGER = re.compile(rb"-?(?:0|[1-9]\d{0,307})")
_NUMBER = re.compile(rb"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_NOT_FINITE = (b"NaN", b"Infinity", b"-Infinity")
_MAX_INTEGER = 2**63 - 1
_MAX_FLOAT = b"1.7976931348623157e308"
_MAX_DIGITS = 4300
"""Python itself refuses integers of more."""


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class Within64Bits:
    """A stream of JSON whose numbers all are of 64 bits.

    Larger integers become floats, too large floats the largest, and NaN and Infinity null.
    """

    def __init__(self, stream: _Readable) -> None:
        self._stream = stream
        self._rest = b""
        self._in_text = False

    def read(self, size: int = -1) -> bytes:
        # Nothing at all would say that the stream ends.
        while new := self._stream.read(size):
            if found := self._mended(new):
                return found
        return self._mended(b"")

    def _mended(self, new: bytes) -> bytes:
        begun = b'"' if self._in_text else b""
        data = begun + self._rest + new
        self._rest, self._in_text = b"", False
        pieces, at = [], 0
        for token in _TOKEN.finditer(data):
            is_text = token["text"] is not None
            pieces.append(data[at : token.start()])
            at = token.end()
            if is_text:
                pieces.append(token[0])
                self._in_text = bool(new) and not token["end"]
            elif new and at == len(data) and len(token[0]) <= _MAX_DIGITS:
                self._rest = token[0]
            else:
                pieces.append(_written(token[0]))
        if self._in_text:
            self._rest = data[at:]  # a backslash, whose letter has not been read
        else:
            pieces.append(data[at:])
        return b"".join(pieces)[len(begun) :]


def _written(token: bytes) -> bytes:
    if token in _NOT_FINITE:
        return b"null"
    if _INTEGER.fullmatch(token):
        return token if abs(int(token)) <= _MAX_INTEGER else token + b".0"
    if len(token) <= _MAX_DIGITS and _NUMBER.fullmatch(token) and math.isinf(float(token)):
        return (b"-" if token.startswith(b"-") else b"") + _MAX_FLOAT
    return token
