"""Data sets of preferences, a JSON list or JSON Lines: an answer that was chosen and one rejected.

A row is `{"prompt", "chosen", "rejected"}`; any of them may be text or a list of messages with
roles. Without a prompt, both answers contain it: as messages, as `Human:` and `Assistant:` in one
text, or as the words with which both texts begin. The chosen answer is read.

Shape: "Dataset formats and types" of huggingface/trl; the data sets Anthropic/hh-rlhf and
HuggingFaceH4/ultrafeedback_binarized; LLaMA-Factory's description of its data.
"""

from collections.abc import Iterator

from elman.data.conversation import Conversation, Message
from elman.data.document import Document
from elman.data.notes import NoteReason, Notes
from elman.data.readers.json_text import after_lines, objects
from elman.data.readers.messages import id_of
from elman.data.readers.reader import Reader
from elman.data.readers.rows import dialogue_of, fields_of, joined, messages_of, prompt_of


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    for where, row in objects(document, notes):
        chosen, rejected = row.get("chosen"), row.get("rejected")
        if chosen is None:
            notes.leave_out("a row without an answer", where)
            continue
        prompt = prompt_of(row, where, notes)
        answer = messages_of(chosen, "assistant", "'chosen'", where, notes)
        if prompt is None or answer is None:
            continue
        if rejected is not None:
            notes.leave_out(NoteReason.NOT_PREFERRED, where)
        if isinstance(chosen, str) and not any(message.author == "user" for message in prompt):
            answer = dialogue_of(chosen) or _parted(chosen, rejected)
        yield Conversation(joined(prompt, answer), id=id_of(row))


def _parted(chosen: str, rejected: object) -> list[Message]:
    """Return the prompt with which both texts begin, of whole words, and the chosen answer."""
    other = rejected if isinstance(rejected, str) else ""
    pairs = enumerate(zip(chosen, other, strict=False))
    same = next(
        (at for at, (ours, theirs) in pairs if ours != theirs), min(len(chosen), len(other))
    )
    end = chosen.rfind(" ", 0, same) + 1
    return [Message("user", chosen[:end].strip()), Message("assistant", chosen[end:].strip())]


_KEYS = ("chosen", "rejected")
READER = Reader(
    lambda head: fields_of(head).keys() >= set(_KEYS), _read, keys=_KEYS, separator=after_lines
)
