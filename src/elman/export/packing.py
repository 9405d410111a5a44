"""What a page holds, as bytes that an HTML file can carry.

The bytes are two zlib streams, behind a magic and their lengths (little-endian, 32 bits): the int8
matrices, one after another, and all else: the length of a JSON text, that text, and arrays, each
at a multiple of 8. The JSON lists the arrays, and says of those in the first stream `codes`.

Two bytes are one character of UTF-16. A file of that begins with a mark that counts for more than
what a server says of its encoding, so it is read alike from everywhere. Characters that HTML
changes, or half a pair, are written as two: `ESCAPE`, and the
other one with a bit turned. Base64 would make a third more of it, this makes 3 %.
"""

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from elman.data.unpacking import BOMB_BYTES, BOMB_RATIO
from elman.data.untrusted import parse_json
from elman.errors import ElmanError

PACK_MAGIC = b"ELMP"
HEAD = struct.Struct("<4sII")
ALIGNED_BYTES = 8

ESCAPE = 0xE000
"""Of the private characters."""
TURNED_BIT = 0x4000
ESCAPED = np.zeros(1 << 16, bool)
"""Which characters are written as two: NUL and carriage return, "<", halves of pairs, what stands
before a file, and no characters at all."""
ESCAPED[[0x00, 0x0D, 0x3C, 0xFEFF, 0xFFFE, 0xFFFF, ESCAPE]] = True
ESCAPED[0xD800:0xE000] = True


def pack(document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Pack a document and arrays."""
    codes, others, listed, at = [], bytearray(), [], 0
    for name, array in arrays.items():
        entry = {"name": name, "dtype": str(array.dtype), "shape": array.shape}
        if array.dtype == np.int8:
            codes.append(np.ascontiguousarray(array).tobytes())
            listed.append({**entry, "at": at, "codes": True})
            at += array.size
        else:
            listed.append({**entry, "at": len(others)})
            others += np.ascontiguousarray(array).tobytes()
            others += bytes(-len(others) % ALIGNED_BYTES)
    text = json.dumps({**document, "arrays": listed}, separators=(",", ":")).encode()
    text += b" " * (-(4 + len(text)) % ALIGNED_BYTES)
    squeezed = (
        _huffman(b"".join(codes)),
        zlib.compress(struct.pack("<I", len(text)) + text + bytes(others), 9),
    )
    return HEAD.pack(PACK_MAGIC, *map(len, squeezed)) + b"".join(squeezed)


def unpack(packed: bytes, where: object) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the document and the arrays of what `pack` made.

    Raises:
        ElmanError: where it is damaged.
    """
    try:
        magic, first, second = HEAD.unpack_from(packed)
        if magic != PACK_MAGIC or len(packed) != HEAD.size + first + second:
            raise ValueError("its length is another")
        codes = _unzipped(packed[HEAD.size : HEAD.size + first])
        rest = _unzipped(packed[HEAD.size + first :])
        begin = 4 + struct.unpack_from("<I", rest)[0]
        document = parse_json(rest[4:begin].decode(), where)
        arrays = {}
        for each in document.pop("arrays"):
            source, offset = (codes, 0) if each.get("codes") else (rest, begin)
            size = int(np.prod(each["shape"], dtype=np.int64))
            array = np.frombuffer(source, each["dtype"], size, offset + each["at"])
            arrays[each["name"]] = array.reshape(each["shape"])
    except (ValueError, KeyError, TypeError, struct.error, zlib.error) as error:
        raise ElmanError(f"{where}: damaged or cut: {error}") from None
    return document, arrays


def _unzipped(content: bytes) -> bytes:
    """Undo zlib; a page may come from somebody who means harm."""
    unpacking = zlib.decompressobj()
    found = unpacking.decompress(content, max(BOMB_BYTES, BOMB_RATIO * len(content)))
    if not unpacking.eof:
        raise ValueError("it ends early, or unpacks to more than any bot")
    return found


def as_characters(packed: bytes) -> str:
    """Write bytes as characters that HTML leaves alone; an odd number of them gets one more."""
    units = np.frombuffer(packed + bytes(len(packed) % 2), "<u2")
    wrong = np.flatnonzero(ESCAPED[units])
    turned = units.copy()
    turned[wrong] ^= TURNED_BIT
    return np.insert(turned, wrong, ESCAPE).astype("<u2").tobytes().decode("utf-16-le")


def from_characters(text: str, size: int) -> bytes:
    """Return the bytes, so many, that `as_characters` wrote."""
    units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), "<u2")
    escapes = np.flatnonzero(units == ESCAPE)
    turned = units.copy()
    turned[escapes[escapes < len(units) - 1] + 1] ^= TURNED_BIT
    return np.delete(turned, escapes).tobytes()[:size]


def _huffman(content: bytes) -> bytes:
    """Compress by a Huffman code alone: in rounded weights nothing repeats."""
    squeezing = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_HUFFMAN_ONLY)
    return squeezing.compress(content) + squeezing.flush()
