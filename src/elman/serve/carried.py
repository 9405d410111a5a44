"""A conversation's state as a text that its client carries; the server keeps nothing of it.

The text is base64 of: what it is (`CARRIED_HEAD`), the numbers of the state (zlib), what was said
last (JSON, zlib), and an HMAC-SHA256 of all that and of whose it is. So a text that was changed,
cut, made elsewhere or given to somebody else is refused before anything of it is looked at. It is
signed and not encrypted. Whoever carries it may bring it back more than once: each time is a fork.
"""

import base64
import hashlib
import hmac
import logging
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from elman.data.conversation import Role
from elman.errors import ElmanError
from elman.generate.decoder import StatePart
from elman.serve.http.errors import ApiError
from elman.serve.store.state_keys import StateKey, StateKeys

T = TypeVar("T")

CARRY = "carry"
"""A request's `state` that asks for one, where there is none yet."""

MAX_CARRIED_CHARACTERS = 36 << 10
"""Of such a text."""

MAX_SIGNED_BYTES = MAX_CARRIED_CHARACTERS // 4 * 3

MAX_CARRIED_STATE_BYTES = 32_000
"""Of a state before it is compressed, which takes an eighth from it at least."""

MAX_SAID_BYTES = 1 << 18
"""Of what was said last, before it is compressed."""

MAX_CARRIED_SECONDS = 30 * 86_400
"""After which a state is refused, with whatever key it was signed."""

MAGIC, VERSION = b"ELMC", 1
CARRIED_HEAD = struct.Struct("<4sB8sQ16sIQ")
"""Magic, version, the key's id, when it was signed in seconds since 1970, the digest of what made
the state, messages, tokens."""

SIGNATURE_BYTES = hashlib.sha256().digest_size


class SaidMessage(NamedTuple):
    """A message that was read or said; `tokens` where the tokenizer would cut it otherwise."""

    role: Role
    text: str
    tokens: list[int] | None


class CarriedState(NamedTuple):
    """What goes on a journey.

    Args:
        arrays: of the state, each (1, size).
        messages: how many it has read and said.
        tokens: of all these.
        said: the last of them, as far as there is room, the last one last.
    """

    arrays: Sequence[np.ndarray]
    messages: int
    tokens: int
    said: Sequence[SaidMessage]


_SAID = TypeAdapter(list[SaidMessage])


def write_carried(carried: CarriedState, keys: StateKeys, owner: str, fingerprint: bytes) -> str:
    """Sign a state for its owner to carry.

    Args:
        fingerprint: the digest of what made it.

    Raises:
        ApiError: where it does not fit, some of its numbers are none, or there is no key.
    """
    if not all(np.isfinite(array).all() for array in carried.arrays):
        raise ApiError(500, "the reply's state has numbers that are not finite")
    key = _asked(keys.current)
    head = CARRIED_HEAD.pack(
        MAGIC, VERSION, bytes.fromhex(key.id), int(time.time()), fingerprint,
        carried.messages, carried.tokens,
    )  # fmt: skip
    content = head + zlib.compress(b"".join(map(_shuffled, carried.arrays)), 1)
    room = MAX_SIGNED_BYTES - SIGNATURE_BYTES - len(content)
    for first in range(len(carried.said) + 1):  # the oldest is left out first
        said = _SAID.dump_json(list(carried.said[first:]))
        packed = zlib.compress(said) if len(said) <= MAX_SAID_BYTES else said
        if len(packed) <= room:
            content += packed
            return base64.urlsafe_b64encode(content + _sign(key, owner, content)).decode()
    raise _too_large(f"{len(content):,} bytes when it is compressed, of which {MAX_SIGNED_BYTES:,}")


def check_size(spec: Sequence[StatePart]) -> None:
    """Raise ApiError where a bot's states are too large to be carried."""
    if (size := sum(map(_size, spec))) > MAX_CARRIED_STATE_BYTES:
        raise _too_large(f"{size:,} bytes, of which {MAX_CARRIED_STATE_BYTES:,}")


def read_carried(
    text: str, keys: StateKeys, owner: str, fingerprint: bytes, spec: Sequence[StatePart]
) -> CarriedState:
    """Return the state that a client brought back.

    Args:
        fingerprint: the digest of what makes the bot's states.
        spec: what these are made of.

    Raises:
        ApiError: where this server, or another with the same keys, has not signed it for this
            owner, or it is of another version of the bot, or too old.
    """
    try:
        signed = base64.b64decode(text.encode("ascii"), b"-_", validate=True)
    except ValueError:
        raise _refused() from None
    content, signature = signed[:-SIGNATURE_BYTES], signed[-SIGNATURE_BYTES:]
    # The last character of base64 has bits that mean nothing, and no two texts are one state.
    if len(content) < CARRIED_HEAD.size or base64.urlsafe_b64encode(signed).decode() != text:
        raise _refused()
    magic, version, key_id, signed_at, made_by, messages, tokens = CARRIED_HEAD.unpack_from(content)
    key = _asked(partial(keys.find, key_id.hex()))
    if (magic, version) != (MAGIC, VERSION) or key is None:
        raise _refused()
    if not hmac.compare_digest(_sign(key, owner, content), signature):
        raise _refused()
    if made_by != fingerprint:
        raise _stale("was made by another version of the bot, or with other --weights")
    if time.time() - signed_at > MAX_CARRIED_SECONDS:
        raise _stale(f"is older than {MAX_CARRIED_SECONDS // 86_400} days")
    try:
        numbers, rest = _unpacked(content[CARRIED_HEAD.size :], sum(map(_size, spec)))
        said, nothing = _unpacked(rest, MAX_SAID_BYTES)
        arrays = _arrays(numbers, spec)
        if nothing or not all(np.isfinite(array).all() for array in arrays):
            raise _refused()
        return CarriedState(arrays, messages, tokens, _SAID.validate_json(said))
    except (zlib.error, ValueError, ValidationError):
        raise _refused() from None


def _sign(key: StateKey, owner: str, content: bytes) -> bytes:
    name = owner.encode()
    signed = b"elman carried state" + len(name).to_bytes(8, "little") + name + content
    return hmac.digest(bytes.fromhex(key.secret), signed, "sha256")


def _asked(ask: Callable[[], T]) -> T:
    """Ask for a key; whoever waits for the answer is not told where keys lie."""
    try:
        return ask()
    except ElmanError as error:
        logging.getLogger("elman").error("%s", error)
        raise ApiError(
            500, "the keys that sign states cannot be used; the server's log says why"
        ) from None


def _too_large(what: str) -> ApiError:
    return ApiError(
        400, f"a state of this bot has {what} can be carried: leave out state", "state",
        "state_too_large",
    )  # fmt: skip


def _refused() -> ApiError:
    # One sentence for whatever is wrong: who forges states is told no more.
    return ApiError(
        400, "this state is not one that was given to you here, or not all of it: begin again with "
        f'"state": "{CARRY}"', "state", "state_refused",
    )  # fmt: skip


def _stale(why: str) -> ApiError:
    return ApiError(
        400, f'this state {why}: begin again with "state": "{CARRY}", and tell what was said',
        "state", "state_stale",
    )  # fmt: skip


def _unpacked(packed: bytes, max_bytes: int) -> tuple[bytes, bytes]:
    """Return what was compressed, and what follows it.

    Raises:
        ValueError: where it is larger, or not whole.
    """
    unpacking = zlib.decompressobj()
    found = unpacking.decompress(packed, max_bytes + 1)
    if len(found) > max_bytes or not unpacking.eof:
        raise ValueError
    return found, unpacking.unused_data


def _size(part: StatePart) -> int:
    return part.size * np.dtype(part.dtype).itemsize


def _shuffled(array: np.ndarray) -> bytes:
    """Return an array's bytes, all first ones first: those of like exponents compress well."""
    return array.reshape(-1, 1).view(np.uint8).T.tobytes()


def _arrays(numbers: bytes, spec: Sequence[StatePart]) -> list[np.ndarray]:
    """Return the arrays of `_shuffled` bytes.

    Raises:
        ValueError: where these are too few.
    """
    found, at = [], 0
    for part in spec:
        own = np.frombuffer(numbers, np.uint8, _size(part), at)
        each = np.dtype(part.dtype).itemsize
        found.append(own.reshape(each, -1).T.copy().view(part.dtype).reshape(1, -1))
        at += _size(part)
    return found
