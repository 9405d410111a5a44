"""A conversation through the lens as one page: offline, self-contained, drawn from the real run."""

from html import escape
from typing import Any

from elman.lens.html import beside, data, document

MINUS = "\N{MINUS SIGN}"

SCRIPTS = ("page_draw.js", "page_network.js", "page_charts.js")


def page(seen: dict[str, Any]) -> str:
    """The whole page, as one HTML document that needs nothing else.

    Args:
        seen: what the command's `--json` says.
    """
    script = "\n".join(beside(name) for name in SCRIPTS)
    style = beside("tiny_page.css") + beside("page.css")
    body = "\n".join((_header(seen), "<main>", *_sections(seen), "</main>", _footer(seen)))
    title = f"How a conversation teaches {seen['name']}"
    return document(title, style, body + data("seen", seen), f"(() => {{{script}}})();")


def headline(seen: dict[str, Any]) -> str:
    """How far back the bot learns, in one sentence."""
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


def _header(seen: dict[str, Any]) -> str:
    shown = len(seen["messages"])
    of = f" of {seen['messages_in_all']:,}" if seen["skipped"] else ""
    chips = (
        seen["bot"],
        f"{len(seen['layers'])} x {seen['cell'].upper()} {seen['hidden_size']:,}",
        f"memory of {seen['memory']}",
        f"{seen['chat']}, conversation {seen['conversation']:,}",
        f"{shown:,}{of} messages",
    )
    name = escape(str(seen["name"]))
    return f"""<header>
<h1>How a conversation teaches {name}</h1>
<p class="lead">Message by message the network makes its next state and guesses what comes next.
Each wrong guess sends an error back through the very messages that led to it: that is
backpropagation through time, and these are its real numbers. <b>{escape(headline(seen))}</b></p>
<p class="chips">{"".join(f"<span>{escape(chip)}</span>" for chip in chips)}</p>
{_cards(seen)}
</header>"""


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


def _sections(seen: dict[str, Any]) -> tuple[str, ...]:
    return (_network(), _lags(), _compare(), _gates(), _method(seen))


def _network() -> str:
    return """<section id="network"><h2><b></b> The network, unfolded</h2>
<p>A column for each message: below what was read, in the middle the state (some units of each
layer), above the guess of the next message and its loss. The state goes right. The gradient comes
back left: <span class="swatch direct"></span> direct, from the very next loss, and
<span class="swatch indirect"></span> indirect, from all later ones. The wider an arrow, the longer
the gradient (by its square root). Cut the unfolding short, and see what is
<span class="swatch gone"></span> cut off.</p>
<div class="controls"><label>Unfold over <input id="unfold" type="range" min="0" max="0" step="1">
<output id="unfolded" for="unfold"></output></label>
<label>Layers <select id="layer"><option value="all">all together</option></select></label>
<button id="play" type="button">Play it</button></div>
<p id="readout" class="readout" aria-live="polite"></p>
<canvas id="overview" tabindex="0" role="img" aria-label="The whole conversation: losses upwards,
gradients downwards. Arrow keys move the part that is shown below."></canvas>
<p class="hint">The whole conversation: losses above, gradients below. Drag, or use the arrow keys;
press a message to see its tokens.</p>
<div id="columns" class="scroll" tabindex="0" role="region" aria-label="The unfolded network"></div>
<div id="close" class="close" hidden></div>
<div class="split"><figure><figcaption>What a truncation cuts off of the gradient at the
states</figcaption><div id="truncation"></div></figure></div>
</section>"""


def _lags() -> str:
    return """<section><h2><b></b> How far back a reply is felt</h2>
<p>How much would a reply's loss change if a state of so many messages before were nudged? The norm
of its gradient there, by layer; the scale is logarithmic.</p><div id="lags"></div></section>"""


def _compare() -> str:
    return """<section><h2><b></b> Vanishing and exploding, seen</h2>
<p id="compare-words"></p><div id="compare"></div></section>"""


def _gates() -> str:
    return """<section><h2><b></b> Gates and state</h2>
<p>What lets a gradient through is what keeps a memory: a gate that stays near 1.</p>
<div id="gates"></div></section>"""


def _method(seen: dict[str, Any]) -> str:
    items = [f"<li><b>Exact:</b> {escape(words)}.</li>" for words in seen["exact"]]
    items += [f"<li><b>Sampled:</b> {escape(words)}.</li>" for words in seen["sampled"]]
    items += [f'<li class="lost"><b>Lost:</b> {escape(words)}.</li>' for words in seen["lost"]]
    return f"""<section><h2><b></b> How this was made</h2><ul class="method">{"".join(items)}</ul>
<p>Loss: {MINUS}log p in nats, summed over a message. Norms are of dLoss/dh, where the loss is
the sum over the messages that {escape(str(seen["name"]))} learns to say. An LSTM carries its
gradient in c, too; h is what all cells share.</p>
<details><summary>The numbers of the drawing, as a table</summary>
<div id="numbers" class="scroll" tabindex="0" role="region" aria-label="Numbers"></div></details>
<noscript><p>The drawings need JavaScript, which is in this file and fetches nothing.</p></noscript>
</section>"""


def _footer(seen: dict[str, Any]) -> str:
    return (
        f"<footer>Made by <code>elman lens {escape(seen['bot'])} {escape(seen['chat'])}</code> on "
        "this computer; the page holds the conversation and sends nothing anywhere.</footer>"
    )
