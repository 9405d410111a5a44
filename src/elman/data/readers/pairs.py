"""Data sets of prompts and answers, a JSON list, JSON Lines or a table: Alpaca and its relatives.

A row is `{"instruction", "input", "output"}` (Alpaca), `{"instruction", "context", "response"}`
(Dolly), `{"prompt", "completion"}`, `{"question", "answer"}` and the like. There may be `system` or
`system_prompt`, the instructions, and `history`, pairs of earlier prompts and answers. A prompt and
its answer may be lists of messages with roles. Where `label` is false, the answer was not wanted.

Shape: tatsu-lab/stanford_alpaca; databrickslabs/dolly; "Dataset formats and types" of
huggingface/trl; LLaMA-Factory's description of its data; OpenAI's older fine-tuning files.
"""

import csv
from collections.abc import Iterator, Mapping
from typing import Any

from elman.data.conversation import Conversation
from elman.data.document import Document
from elman.data.notes import NoteReason, Notes
from elman.data.readers import table
from elman.data.readers.json_text import after_lines, json_start, objects
from elman.data.readers.messages import id_of
from elman.data.readers.reader import Reader
from elman.data.readers.rows import (
    PROMPT_FIELDS,
    field_of,
    fields_of,
    joined,
    messages_of,
    prompt_of,
)
from elman.errors import ElmanError

ANSWER_FIELDS = ("output", "completion", "response", "answer", "assistant", "bot")

_MAX_FIELD_CHARACTERS = 1 << 20
"""More than that is a quotation mark that was never closed."""


def _matches(head: str) -> bool:
    fields: Mapping[str, frozenset[type]] = fields_of(head)
    if not fields and not table.READER.matches(head):
        fields = dict.fromkeys(_header(head)[1], frozenset({str}))
    names = (field_of(fields, PROMPT_FIELDS), field_of(fields, ANSWER_FIELDS))
    return all(name and not fields[name] <= {dict} for name in names)


def _header(head: str) -> tuple[str, list[str]]:
    """Return the delimiter of a table, and the names in its first line."""
    lines = head.removeprefix("\ufeff").lstrip().splitlines()
    headers = {
        each: [name.strip(' "').casefold() for name in lines[0].split(each)] if lines else []
        for each in ",;\t|"
    }
    delimiter = max(headers, key=lambda each: len(headers[each]))
    return delimiter, headers[delimiter]


def _rows(document: Document, notes: Notes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows, each with its place."""
    head = document.head()
    if json_start(head).startswith(("{", "[")):
        yield from objects(document, notes)
        return
    delimiter, names = _header(head)
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    rows = csv.reader((f"{line}\n" for _, line in document.lines()), delimiter=delimiter)
    begun, number = False, 0
    try:
        for row in rows:
            where, number = f"{document.name}: line {number + 1}", rows.line_num
            if not begun:
                begun = bool(row)
            elif len(row) == len(names):
                yield where, dict(zip(names, row, strict=True))
            elif row:
                notes.leave_out(f"a row that does not have {len(names)} fields", where)
    except csv.Error as error:
        raise ElmanError(
            f"{document.name}: line {number + 1}: {error}; is a quotation mark never closed?"
        ) from None


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    for where, row in _rows(document, notes):
        if row.get("label") is False:
            notes.leave_out(NoteReason.NOT_PREFERRED, where)
            continue
        name = field_of(row, ANSWER_FIELDS)
        if name is None:
            notes.leave_out("a row without an answer", where)
            continue
        prompt = prompt_of(row, where, notes)
        answer = messages_of(row[name], "assistant", repr(name), where, notes)
        if prompt is not None and answer is not None:
            yield Conversation(joined(prompt, answer), id=id_of(row))


READER = Reader(_matches, _read, keys=("prompt", "completion"), separator=after_lines)
