"""What was seen of a conversation, as plain JSON: for the page, the terminal and machines."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from elman.data.tokenizer import END, Tokenizer
from elman.lens.units import Units
from elman.lens.view import LensView

MAX_TEXT_CHARS = 400

DRAWN_STEPS = 600
"""Steps that a unit's line is drawn of, about."""


def pieces(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[str]:
    """Spell each token; a role says nothing."""
    return [
        "END" if token == END else tokenizer.spelled(token).decode("utf-8", "replace")
        for token in tokens
    ]


def to_json(view: LensView, tokenizer: Tokenizer) -> dict[str, Any]:
    """Write everything as plain JSON, to four digits."""
    found: dict[str, Any] = {
        "layers": view.layers,
        "skipped": view.skipped,
        "close": view.close,
        "messages": [_message(view, n) for n in range(len(view.said))],
        "exact": view.exact,
        "sampled": view.sampled,
        "lost": view.lost,
        "tokens": _tokens(view, tokenizer),
    }
    if view.whole is not None:
        found["weights"] = [
            {"name": name, "norm": _short(norm), "shares": _short(view.whole.shares[name])}
            for name, norm in view.whole.norms.items()
        ]
        found["unfoldings"] = {
            str(unfold): {
                "indirect": _short(each.indirect),
                "lost": _short(each.lost),
                "share": _short(each.share),
            }
            for unfold, each in view.unfoldings.items()
        }
    if view.lags is not None:
        count, more = view.lags.reach
        found["lags"] = {
            "messages": _short(view.lags.messages),
            "whole": _short(view.lags.whole),
            "tokens": None if view.lags.tokens is None else _short(view.lags.tokens),
            "replies": view.lags.replies.tolist(),
            "reach": count,
            "or_more": more,
        }
    found["units"] = [_units(each) for each in view.units]
    return found


def _message(view: LensView, n: int) -> dict[str, Any]:
    said = view.said[n]
    found: dict[str, Any] = {
        "author": said.author,
        "role": said.role,
        "text": said.text[:MAX_TEXT_CHARS] + ("…" if len(said.text) > MAX_TEXT_CHARS else ""),
        "tokens": len(said.tokens),
        "counts": said.counts,
        "nats": _short(view.nats[n]),
        "state": _short(view.state[n]),
        "strip": [[round(float(v), 2) for v in layer] for layer in view.strip[n]],
    }
    for name in ("direct", "indirect", "gradient"):
        values = getattr(view, name)
        if values is not None:
            found[name] = _short(values[n])
    if view.whole is not None and view.whole.recorded is not None:
        found["pointer"] = _short(float(view.whole.recorded[n]))
    return found


def _tokens(view: LensView, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Write the messages that are seen closely."""
    first = len(view.said) - view.close if view.whole is not None else 0
    found, place = [], 0
    for n in range(first, len(view.said)):
        tokens = view.said[n].tokens
        own: dict[str, Any] = {
            "pieces": pieces(tokenizer, tokens.tolist()),
            "nats": _short(view.token_nats[n]),
        }
        part = slice(place, place + len(tokens))
        if view.token_direct is not None and view.token_gradient is not None:
            own |= {
                "direct": _short(view.token_direct[part]),
                "gradient": _short(view.token_gradient[part]),
            }
        place = part.stop
        found.append(own)
    return found


def _units(units: Units) -> dict[str, Any]:
    return {
        "hold": None if units.hold is None else _short(units.hold),
        "gates": {
            name: [[round(float(v), 3) for v in pair] for pair in values]
            for name, values in units.gates.items()
        },
        "dead": units.dead,
        "stuck": {name: list(pair) for name, pair in units.stuck.items()},
        "longest": units.longest,
        "kept": _short(_thinned(units.kept)),
    }


def _thinned(values: Tensor) -> Tensor:
    """Keep every so manieth step, so that a line can be drawn of it."""
    return values[:: max(1, len(values) // DRAWN_STEPS)]


def _short(values: Any) -> Any:
    """Round numbers to four digits; what is no number is null."""
    if isinstance(values, Tensor):
        values = values.tolist()
    if isinstance(values, list):
        return [_short(value) for value in values]
    return float(f"{values:.4g}") if np.isfinite(values) else None
