"""A conversation through the lens as one page: offline, self-contained, drawn from the real run."""

from collections.abc import Iterator
from html import escape
from typing import Any

from elman.lens.html import beside, data, document, fill

MINUS = "\N{MINUS SIGN}"

SCRIPTS = ("page_draw.js", "page_network.js", "page_charts.js")


def page(seen: dict[str, Any]) -> str:
    """Make the whole page, as one HTML document that needs nothing else.

    Args:
        seen: what the command's `--json` says.
    """
    body = fill(
        "page.html",
        name=escape(str(seen["name"])),
        headline=escape(headline(seen)),
        chips="".join(f"<span>{escape(chip)}</span>" for chip in _chips(seen)),
        cards=_cards(seen),
        method="".join(_method(seen)),
        bot=escape(seen["bot"]),
        chat=escape(seen["chat"]),
        data=data("seen", seen),
    )
    style = beside("tiny_page.css") + beside("page.css")
    script = "\n".join(beside(name) for name in SCRIPTS)
    title = f"How a conversation teaches {seen['name']}"
    return document(title, style, body, f"(() => {{{script}}})();")


def headline(seen: dict[str, Any]) -> str:
    """Say in one sentence how far back the bot learns."""
    if seen["lost"]:
        return "Rounded weights have no gradient: what the bot expects and how its state moves."
    unfold, own = seen["unfold"], seen.get("lags")
    over = f"{unfold['count']:,} {unfold['unit']}"
    if unfold["unit"] == "tokens":
        over += f", about {unfold['messages']:g} messages here"
    if own is None or not own["reach"]:
        return f"No gradient comes back to any message; it is unfolded over {over}."
    least = "at least" if own["or_more"] else "about"
    return f"A reply is felt {least} {own['reach']} messages back; it is unfolded over {over}."


def _chips(seen: dict[str, Any]) -> tuple[str, ...]:
    shown = len(seen["messages"])
    of = f" of {seen['messages_in_all']:,}" if seen["skipped"] else ""
    return (
        seen["bot"],
        f"{len(seen['layers'])} x {seen['cell'].upper()} {seen['hidden_size']:,}",
        f"memory of {seen['memory']}",
        f"{seen['chat']}, conversation {seen['conversation']:,}",
        f"{shown:,}{of} messages",
    )


def _cards(seen: dict[str, Any]) -> str:
    if seen["lost"]:
        return ""
    cards = []
    if own := seen.get("lags"):
        least = "\N{GREATER-THAN OR EQUAL TO} " if own["or_more"] else ""
        felt = "is how far back a reply is felt: less than 1 % of its gradient is from before those"
        cards.append((f"{least}{own['reach']} <small>messages</small>", felt))
    unfold = seen["unfold"]
    words = "is what training unfolds it over"
    if unfold["unit"] == "tokens":
        words += f": about {unfold['messages']:g} messages as long as these"
    cards.append((f"{unfold['count']:,} <small>{unfold['unit']}</small>", words))
    direct, indirect = (_total(seen, name) for name in ("direct", "indirect"))
    if direct + indirect:
        share = 100 * indirect / (direct + indirect)
        words = "of what reaches the states is indirect: from later losses than the very next one"
        cards.append((f"{share:.0f} <small>%</small>", words))
    return (
        '<div class="cards">'
        + "".join(f"<div><b>{big}</b><span>{escape(words)}</span></div>" for big, words in cards)
        + "</div>"
    )


def _total(seen: dict[str, Any], name: str) -> float:
    return float(
        sum(sum(v * v for v in message.get(name, ())) ** 0.5 for message in seen["messages"])
    )


def _method(seen: dict[str, Any]) -> Iterator[str]:
    for words in seen["exact"]:
        yield f"<li><b>Exact:</b> {escape(words)}.</li>"
    for words in seen["sampled"]:
        yield f"<li><b>Sampled:</b> {escape(words)}.</li>"
    for words in seen["lost"]:
        yield f'<li class="lost"><b>Lost:</b> {escape(words)}.</li>'
