"""Data sets of prompts and answers, a JSON list or JSON Lines: Alpaca and its relatives.

A row is `{"instruction", "input", "output"}` (Alpaca), `{"instruction", "context", "response"}`
(Dolly), `{"prompt", "completion"}`, `{"question", "answer"}` and the like. There may be `system` or
`system_prompt`, the instructions, and `history`, pairs of earlier prompts and answers. A prompt and
its answer may be lists of messages with roles. Where `label` is false, the answer was not wanted.

Shape: tatsu-lab/stanford_alpaca; databrickslabs/dolly; "Dataset formats and types" of
huggingface/trl; LLaMA-Factory's description of its data; OpenAI's older fine-tuning files.
"""

from collections.abc import Iterator

from elman.data.conversation import Conversation
from elman.data.document import Document, Notes
from elman.data.readers.messages import id_of
from elman.data.readers.reader import Reader, objects
from elman.data.readers.rows import (
    PROMPTS,
    field_of,
    fields_of,
    joined,
    messages_of,
    prompt_of,
)

ANSWERS = ("output", "completion", "response", "answer")


def _matches(head: str) -> bool:
    fields = fields_of(head)
    names = (field_of(fields, PROMPTS), field_of(fields, ANSWERS))
    return all(name and not fields[name] <= {dict} for name in names)


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    for where, row in objects(document):
        if row.get("label") is False:
            notes.leave_out("an answer that was not preferred", where)
            continue
        name = field_of(row, ANSWERS)
        if name is None:
            notes.leave_out("a row without an answer", where)
            continue
        prompt = prompt_of(row, where, notes)
        answer = messages_of(row[name], "assistant", repr(name), where, notes)
        if prompt is not None and answer is not None:
            yield Conversation(joined(prompt, answer), id=id_of(row))


READER = Reader(_matches, _read, keys=("prompt", "completion"))
