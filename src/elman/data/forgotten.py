"""What was learned once and is to be learned no more: people, conversations, messages.

A configuration keeps digests of them, so that it does not say itself what it is silent about.
"""

import hashlib
from collections.abc import Collection
from dataclasses import replace
from typing import Literal

from elman.data.conversation import SYSTEM, Conversation

FORGOTTEN_DIGEST_CHARS = 16

ForgottenKind = Literal["person", "conversation", "message"]


def forgotten_digest(kind: ForgottenKind, text: str) -> str:
    """Stand for a person's name, a conversation's id or a message's text."""
    whole = hashlib.sha256(f"{kind}\0{text}".encode(errors="replace")).hexdigest()
    return f"{kind}#{whole[:FORGOTTEN_DIGEST_CHARS]}"


def remembered(conversation: Conversation, forgotten: Collection[str]) -> Conversation | None:
    """Return what may be learned of a conversation; None where nothing may.

    A conversation that is left with fewer than two people who had two before is forgotten whole:
    what is left of it was said to nobody.

    Args:
        conversation: as the bot sees it.
        forgotten: digests.
    """
    if not forgotten:
        return conversation
    if forgotten_digest("conversation", conversation.id) in forgotten:
        return None
    people = {
        author for author in conversation.authors if forgotten_digest("person", author) in forgotten
    }
    texts = any(each.startswith("message#") for each in forgotten)
    kept = tuple(
        message
        for message in conversation.messages
        if message.author not in people
        and not (texts and forgotten_digest("message", message.text) in forgotten)
    )
    if len(kept) == len(conversation.messages):
        return conversation
    left = {message.author for message in kept} - {SYSTEM}
    if not left or (len(left) < 2 <= len(conversation.authors)):
        return None
    return replace(conversation, messages=kept)
