"""What the readers of data sets share, whose rows are JSON objects with a prompt and an answer."""

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any

from elman.data.conversation import SYSTEM, Message
from elman.data.notes import Notes
from elman.data.readers.json_text import json_start
from elman.data.readers.numbers import Within64Bits
from elman.data.readers.sharegpt import message_of
from elman.errors import ElmanError

PROMPT_FIELDS = ("instruction", "prompt", "question", "query", "input", "user", "human")
"""Fields that hold what is asked; where several do, the first is taken."""
_CONTEXTS = ("input", "context")
_SYSTEMS = ("system", "system_prompt")
_NO_INPUT = "<noinput>"
"""Stands in some sets of instructions for an input that there is not."""

_ROLES = {"Human": "user", "Assistant": "assistant"}
_DIALOGUE = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")


@lru_cache(maxsize=8)
def fields_of(head: str) -> Mapping[str, frozenset[type]]:
    """Return the fields, with their values' kinds, of objects that begin JSON Lines or a list.

    Args:
        head: the beginning of the text, which may end within an object.
    """
    import ijson

    kinds: defaultdict[str, set[type]] = defaultdict(set)
    start = json_start(head)
    stream = Within64Bits(BytesIO(start.encode(errors="replace")))
    depth, key = 0, ""
    floor = 2 if start.startswith("[") else 1
    try:
        for event, value in ijson.basic_parse(
            stream,
            multiple_values=True,
            use_float=True,
            buf_size=max(_PIECE_BYTES, len(start) // _MAX_PIECES),
        ):
            if event in ("end_map", "end_array"):
                depth -= 1
            elif event == "map_key":
                if depth == floor:
                    key, _ = value, kinds[value]  # known even where the head ends within its value
            else:
                if depth == floor and key:
                    kinds[key].add(_KINDS.get(event, float))
                depth += event in _KINDS and _KINDS[event] in (dict, list)
            key = key if depth >= floor else ""
    except (ijson.JSONError, ValueError):
        pass  # the head ends here, or it is no JSON: what there was is known
    return {key: frozenset(found) for key, found in kinds.items()}


_PIECE_BYTES = 1024
"""What is parsed at once: of a piece with a mistake in it nothing may be known."""
_MAX_PIECES = 64
"""A text that goes on from piece to piece is looked at again with each."""
_KINDS: dict[str, type] = {"start_map": dict, "start_array": list, "string": str}


def field_of(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """Return the first of the names that the row has a field of, which is not null."""
    return next((name for name in names if row.get(name) is not None), None)


def messages_of(
    value: Any, author: str, what: str, where: str, notes: Notes
) -> list[Message] | None:
    """Return the messages of a field: text is one of the author's, a list has messages with roles.

    Returns:
        None where it is neither, which is counted.
    """
    if isinstance(value, str):
        return [Message(author, value.strip())]
    if not isinstance(value, list):
        notes.leave_out(f"a row whose {what} is neither text nor a list of messages", where)
        return None
    messages = []
    for each in value:
        try:
            message = message_of(each, where, notes)
        except ElmanError:
            notes.leave_out("a message that is not as expected", where)
            continue
        if message is not None:
            messages.append(message)
    return messages


def prompt_of(row: Mapping[str, Any], where: str, notes: Notes) -> list[Message] | None:
    """Return all that stands before a row's answer: instructions, earlier turns and the prompt.

    Returns:
        None where the prompt is neither text nor messages, which is counted.
    """
    before = [Message(SYSTEM, text) for text in _texts(row, _SYSTEMS)[:1]]
    before += _history(row.get("history"), where, notes)
    name = field_of(row, PROMPT_FIELDS)
    if name is None:
        return before
    prompt = row[name]
    if isinstance(prompt, str):
        contexts = _texts(row, tuple(each for each in _CONTEXTS if each != name))
        prompt = "\n".join([prompt.strip(), *contexts[:1]])
    messages = messages_of(prompt, "user", repr(name), where, notes)
    return None if messages is None else before + messages


def _texts(row: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    found = (row[name].strip() for name in names if isinstance(row.get(name), str))
    return [text for text in found if text not in ("", _NO_INPUT)]


def _history(pairs: Any, where: str, notes: Notes) -> list[Message]:
    """Earlier prompts and answers, as pairs."""
    messages = []
    for pair in pairs if isinstance(pairs, list) else []:
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(p, str) for p in pair):
            messages += [Message("user", pair[0]), Message("assistant", pair[1])]
        else:
            notes.leave_out("an earlier turn that is no pair of texts", where)
    return messages


def joined(prompt: list[Message], answer: list[Message]) -> tuple[Message, ...]:
    """Join a prompt and its answer to one conversation.

    What the answer repeats of the prompt stands in it once, and a prompt that is a dialogue in one
    text, `Human: ... Assistant:`, is taken apart.
    """
    if len(prompt) == len(answer) == 1 and (
        spoken := dialogue_of(f"{prompt[0].text}\n\n{answer[0].text}")
    ):
        return tuple(spoken)
    asked, said = ([m for m in part if m.author != SYSTEM] for part in (prompt, answer))
    if said[: len(asked)] == asked:
        prompt = [m for m in prompt if m.author == SYSTEM and m not in answer]
    return (*prompt, *answer)


def dialogue_of(text: str) -> list[Message]:
    """Return the messages of a text that begins with `Human:`; none where it does not."""
    first, *parts = _DIALOGUE.split(text)
    if first.strip():
        return []
    return [
        Message(_ROLES[role], said.strip())
        for role, said in zip(parts[::2], parts[1::2], strict=True)
        if said.strip()
    ]
