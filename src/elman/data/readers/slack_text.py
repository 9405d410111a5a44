"""What a Slack message says: its text, its blocks, or the attachments of apps, as people saw it.

Shape: Slack's documentation (docs.slack.dev): formatting of message text; the blocks of Block Kit,
whose `rich_text` is what people write in; secondary attachments.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

_MARKUP = re.compile(r"<([^<>]+)>|&(amp|lt|gt);")
_LINK = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_ESCAPED = {"amp": "&", "lt": "<", "gt": ">"}

_STAND_INS = {"This content can't be displayed.", "[no preview available]"}
"""What Slack writes where the text of blocks should be."""
_FORWARDED = ("is_msg_unfurl", "is_share")


class Plain:
    """Turns Slack's markup into plain text.

    Args:
        users: names by their ids.
        channels: names by their ids.
    """

    def __init__(self, users: dict[str, str], channels: dict[str, str]) -> None:
        self._users, self._channels = users, channels

    def text(self, markup: Any) -> str:
        """Marked-up text as people saw it, but for what Slack makes bold and the like."""
        return _MARKUP.sub(self._plain, markup) if isinstance(markup, str) else ""

    def _plain(self, markup: re.Match[str]) -> str:
        inner, escaped = markup.groups()
        if escaped:
            return _ESCAPED[escaped]
        target, _, label = inner.partition("|")
        key, label = target[1:], self.text(label)
        match target[:1]:
            case "@":
                return self.user(key, label)
            case "#":
                return "#" + (label.removeprefix("#") or self._channels.get(key, key))
            case "!":  # here, channel, everyone, subteam^S012, date^1700000000^{date}
                return label or "@" + key.removeprefix("subteam^")
        if not _LINK.match(target):
            return markup[0]
        return label or self.text(target.removeprefix("mailto:"))

    def user(self, key: str, label: str = "") -> str:
        """Mention somebody, as people saw it."""
        return "@" + (self._users.get(key) or label.removeprefix("@") or key)

    def channel(self, key: str) -> str:
        """Mention a channel, as people saw it."""
        return "#" + self._channels.get(key, key)


def said(record: dict[str, Any], plain: Plain) -> str:
    """Return a message's text; that of its blocks or attachments where its own says nothing."""
    text = plain.text(record.get("text"))
    stand_in = not text.strip() or text.strip() in _STAND_INS
    blocks = _objects(record.get("blocks"))
    # An app's text beside its blocks is only for notifications; a person's is what the blocks say.
    by_app = any(block.get("type") != "rich_text" for block in blocks)
    if (stand_in or by_app) and (shown := _of_blocks(blocks, plain)):
        return shown
    if stand_in:
        attachments = [each for each in _objects(record.get("attachments")) if not _forwarded(each)]
        if shown := _lines(*(_of_attachment(each, plain) for each in attachments)):
            return shown
    return text


def _forwarded(attachment: dict[str, Any]) -> bool:
    """Say whether it is a message of somebody else."""
    return any(map(attachment.get, _FORWARDED))


def _of_attachment(attachment: dict[str, Any], plain: Plain) -> str:
    fields = _objects(attachment.get("fields"))
    written = _lines(
        *(plain.text(attachment.get(key)) for key in ("pretext", "title", "text")),
        *(plain.text(field.get(key)) for field in fields for key in ("title", "value")),
        _of_blocks(_objects(attachment.get("blocks")), plain),
    )
    fallback = plain.text(attachment.get("fallback"))
    return written or ("" if fallback.strip() in _STAND_INS else fallback)


def _of_blocks(blocks: list[dict[str, Any]], plain: Plain) -> str:
    return _lines(*(_of_block(block, plain) for block in blocks))


def _of_block(block: dict[str, Any], plain: Plain) -> str:
    kind, elements = block.get("type"), _objects(block.get("elements"))
    if kind == "rich_text":
        return _lines(*(_rich_text(element, plain) for element in elements))
    if kind == "context":
        return " ".join(filter(None, (_text_object(each, plain) for each in elements)))
    if kind in ("section", "header", "markdown", "video"):
        fields = _objects(block.get("fields"))
        texts = (block.get("title"), block.get("text"), *fields)
        return _lines(*(_text_object(each, plain) for each in texts))
    return ""  # pictures, buttons and lines


def _text_object(value: Any, plain: Plain) -> str:
    """Return the text of `{"type": "mrkdwn" or "plain_text", "text"}`, or text as it is."""
    return plain.text(value.get("text") if isinstance(value, dict) else value)


def _rich_text(element: dict[str, Any], plain: Plain) -> str:
    elements = _objects(element.get("elements"))
    kind = element.get("type")
    if kind == "rich_text_list":
        indent = element.get("indent")
        before = "    " * min(indent, 8) if isinstance(indent, int) else ""
        ordered = element.get("style") == "ordered"
        return _lines(
            *(
                f"{before}{f'{number}.' if ordered else '•'} {_inline(item, plain)}"
                for number, item in enumerate(elements, 1)
            )
        )
    text = _inline(element, plain)
    if kind == "rich_text_quote":
        return "\n".join(f"> {line}" for line in text.split("\n"))
    return text


def _inline(section: dict[str, Any], plain: Plain) -> str:
    return "".join(_inlines(_objects(section.get("elements")), plain)).removesuffix("\n")


def _inlines(elements: list[dict[str, Any]], plain: Plain) -> Iterator[str]:
    for element in elements:
        key, shown = _INLINE.get(str(element.get("type")), ("text", _as_it_is))
        value = element.get(key)
        label = element.get("text") or element.get("fallback")
        if isinstance(value, str):
            own = element["type"] in ("link", "date") and isinstance(label, str) and label
            yield str(label) if own else shown(value, plain)


def _as_it_is(text: str, _: Plain) -> str:
    return text


_INLINE: dict[str, tuple[str, Callable[[str, Plain], str]]] = {
    "link": ("url", _as_it_is),
    "date": ("fallback", _as_it_is),
    "emoji": ("name", lambda name, _: f":{name}:"),
    "user": ("user_id", lambda key, plain: plain.user(key)),
    "channel": ("channel_id", lambda key, plain: plain.channel(key)),
    "usergroup": ("usergroup_id", lambda key, _: f"@{key}"),
    "broadcast": ("range", lambda who, _: f"@{who}"),
    "color": ("value", _as_it_is),
}
"""Kinds of what stands in a line: the key of what it is, and how that is shown."""


def _objects(value: Any) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict)]


def _lines(*texts: str) -> str:
    return "\n".join(text for text in texts if text.strip())
