"""What a file of no known format looks like most, and what is missing for that."""

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from elman.data.readers import table, transcript
from elman.data.readers.json_text import json_start
from elman.data.readers.reader import FolderReader, Reader
from elman.data.readers.rows import fields_of

_SIGNATURES = {
    r"SQLite format 3\0": "a database (SQLite): export its chats with the program that wrote it, "
    "or with signal-export or imessage-exporter",
    r"%PDF-": "a PDF: save it as plain text",
    r"\{\\rtf": "a document in RTF: save it as plain text",
    r"\s*<(?:!doctype html|html|head|body|div)\b": "a web page (HTML): export the chat as JSON or "
    "plain text instead",
    r"\s*<(?:\?xml|!--)": "XML: export the chat as JSON, CSV or plain text instead",
    "FEA1": "a Feather file of version 1: save it as Parquet, Arrow or JSON Lines",
    r"Rar!|7z\ufffd\ufffd": "an archive: unpack it, and give the folder",
}
_JSON = re.compile(
    r"""[\[{]\s*(?:\Z|[\[{\]}"']|-?\d+(?:\.\d+)?\s*(?:[,\]]|\Z)|(?:true|false|null)\b)"""
)
"""Also with single quotes, as Python writes dictionaries."""
_MAX_SHOWN = 8
_MAX_CHARACTERS = 60
_DATED = re.compile(
    r"\W{0,3}(?:\d{1,4}\W{1,2}\d{1,2}\W{1,2}\d{2,4}|\d{1,2}:\d\d|[A-Z][a-z]+\.? \d{1,2}, \d{4})\b"
)
_FEW_LINES = 0.2
_MIN_SHARE = 0.5
"""Of the names of a format's JSON; fewer are a coincidence."""


class Likeness(NamedTuple):
    """`kind` is one of a few; `missing` says what this file lacks, for a person to read."""

    kind: str
    missing: str


def other_kind(head: str) -> str | None:
    """Say what a file without text is, and what to do with it; None: it may hold text."""
    text = head.removeprefix("\ufeff")
    kinds = (what for mark, what in _SIGNATURES.items() if re.match(mark, text, re.IGNORECASE))
    return next(kinds, None)


def likeness_of(head: str, readers: Mapping[str, Reader | FolderReader]) -> Likeness:
    """Find what a text that no reader knows looks like most.

    Args:
        head: how it begins.
        readers: by their names.
    """
    start = json_start(head)
    if _JSON.match(start):
        return _like_json(start, readers)
    if (columns := table.columns_without_role(head)) is not None:
        names, missing = columns
        return Likeness(
            "a table",
            f"it has the columns {_listed(names)}, but {' and '.join(missing)}; "
            "docs/formats.md has the names",
        )
    return _like_lines(head.removeprefix("\ufeff").splitlines())


def _like_json(start: str, readers: Mapping[str, Reader | FolderReader]) -> Likeness:
    fields = list(fields_of(start))
    if not fields:
        return Likeness("JSON", _why_no_objects(start))
    shares = {
        name: sum(f'"{key}"' in start for key in reader.keys) / len(reader.keys)
        for name, reader in readers.items()
        if reader.keys
    }
    best = max(shares, key=lambda name: shares[name])
    if shares[best] < _MIN_SHARE:
        return Likeness(
            "JSON", f"its objects have the fields {_listed(fields)}; no format has those"
        )
    lacking = [key for key in readers[best].keys if f'"{key}"' not in start]
    if lacking:
        return Likeness(best, f"there is no {' and no '.join(map(repr, lacking))} in it")
    return Likeness(
        best,
        f"{_listed(list(readers[best].keys))} are there, but not where they belong: its objects "
        f"have the fields {_listed(fields)}",
    )


def _why_no_objects(start: str) -> str:
    try:
        json.loads(start)
    except json.JSONDecodeError as error:
        cut = error.msg.startswith("Unterminated") or error.pos >= len(start.rstrip()) - 1
        if not cut:
            return f"it is broken: {error.msg} in line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        pass
    return "it is not made of objects, one for each conversation"


def _like_lines(lines: list[str]) -> Likeness:
    lines = [line for line in lines if line.strip()]
    dated = sum(_DATED.match(line) is not None for line in lines)
    named = sum(transcript.begins_message(line) for line in lines)
    if dated > _FEW_LINES * len(lines):
        return Likeness(
            "an export of a messenger",
            f"{dated} of its first {len(lines)} lines begin with a date or a clock, but not as "
            f"WhatsApp, Signal, iMessage or Discord write it: {_shown(lines[0])}",
        )
    if named:
        return Likeness(
            "transcript",
            f"{named} of its first {len(lines)} lines begin with 'Name: ', but the first does not: "
            f"{_shown(lines[0])}; take out what stands before the first name",
        )
    return Likeness("plain text", "no line in it says who speaks")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return ", ".join(map(_shown, names[:_MAX_SHOWN])) + more


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}...")
