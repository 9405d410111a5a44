"""A bot's report card: Markdown with pictures, and samples that are drawn and not picked."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from elman.data.corpus import Corpus
from elman.data.tokenizer import ROLES, Tokenizer
from elman.evaluate.measures import Measured

CARD_SAMPLES = 10
"""Replies that are shown."""

CARD_HISTORY_MESSAGES = 4
"""Messages that are shown before a reply."""

AUDIT = "audit.json"
"""Of a bot's folder: what `elman audit` found, with the digest of the weights that it is of."""

CHART_WIDTH, CHART_HEIGHT, CHART_MARGIN = 560, 220, 40


def card(
    name: str,
    stem: str,
    measured: Measured,
    corpus: Corpus,
    tokenizer: Tokenizer,
    facts: dict[str, Any],
    audit: Mapping[str, Any] | None = None,
) -> tuple[str, dict[str, str]]:
    """Write the card.

    Args:
        name: of the bot.
        stem: what the file names of its pictures begin with.
        measured: the bot's figures.
        corpus: the conversations that it was measured on.
        tokenizer: the bot's.
        facts: what else stands at the top, by label.
        audit: what the bot gives away, as `Audit.to_json` tells it, where that was measured.

    Returns:
        The card as Markdown, and its pictures as SVG by their file names.
    """
    report = measured.report
    pictures = {}
    lines = [f"# {_shown(name)}", ""]
    lines += [f"- {label}: {_shown(str(value))}" for label, value in facts.items()]
    lines += [
        f"- held out: {report.conversations:,} conversations, {report.messages:,} messages",
        "",
        "| measure | the bot | people |",
        "|---|---|---|",
        *(f"| {label} | {ours} | {theirs} |" for label, ours, theirs in rows(measured)),
        "",
    ]
    if report.context_gain_by_lag:
        pictures[f"{stem}-gain.svg"] = bars(
            "Bits per byte that each earlier message saves",
            [str(lag) for lag in range(1, len(report.context_gain_by_lag) + 1)],
            report.context_gain_by_lag,
            "messages back",
        )
        lines += [f"![What each earlier message is worth]({stem}-gain.svg)", ""]
    remembered = {k: v for k, v in report.recall_by_distance.items() if v is not None}
    if remembered:
        pictures[f"{stem}-recall.svg"] = bars(
            "Rare words told apart from nine others (chance 0.1)",
            list(remembered),
            list(remembered.values()),
            "messages since they were said",
        )
        lines += [f"![What it remembers]({stem}-recall.svg)", ""]
    if audit is not None:
        lines += _privacy(audit)
    lines += ["## Conversations, drawn by seed and not by taste", ""]
    drawn = np.random.default_rng(report.seed).permutation(len(measured.positions))[:CARD_SAMPLES]
    for number in sorted(drawn):
        place, pair = measured.positions[number], measured.pairs[number]
        history = corpus.messages(place.conversation)[: place.position][-CARD_HISTORY_MESSAGES:]
        for message in history:
            who = "bot" if message[0] == ROLES["bot"] else "user"
            lines.append(f"> {who}: {_shown(tokenizer.decode(message))}  ")
        lines += [
            f"> **really answered:** {_shown(pair.person)}  ",
            f"> **the bot:** {_shown(pair.bot)}",
            "",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n", pictures


MEASURES = (
    ("bits per byte", "bits_per_byte", 4),
    ("perplexity per word", "perplexity_per_word", 1),
    ("context gain, over no history", "context_gain", 4),
    ("context gain, over another's", "context_gain_other", 4),
    ("real reply ranked first, of 10", "hits_at_1", 3),
    ("real reply ranked first, of 20", "hits_at_1_of_20", 3),
    ("of 10, by likelihood alone", "hits_at_1_likelihood", 3),
    ("the very words that were answered", "exact_match", 3),
    ("BLEU", "bleu", 1),
    ("distinct-1", "distinct_1", 3),
    ("distinct-2", "distinct_2", 3),
    ("repeated replies", "repeated_replies", 3),
    ("words in a reply", "reply_words", 0),
    ("8 words copied in a row", "copied", 3),
)
"""Labels of a report's measures, their names there, and how many digits are shown."""


def rows(measured: Measured) -> list[tuple[str, str, str]]:
    """List each measure: its label, the bot's figure and people's."""
    report = measured.report.to_json()

    def shown(name: str, digits: int) -> str:
        if name not in report:
            return ""
        if report[name] is None:
            return "-"
        low, high = report.get(f"{name}_interval") or (None, None)
        interval = "" if low is None else f" ({low:.{digits}f} to {high:.{digits}f})"
        return f"{report[name]:.{digits}f}{interval}"

    found = [(t, shown(name, n), shown(f"{name}_people", n)) for t, name, n in MEASURES]
    people = shown("people_in_training", 3)
    found.append(("replies that stand in the training data", "", people))
    return found + [
        (f"rare word from {name} messages back, of 10", "-" if x is None else f"{x:.3f}", "")
        for name, x in measured.report.recall_by_distance.items()
    ]


def _privacy(audit: Mapping[str, Any]) -> list[str]:
    """Write what a bot gives away as a section of the card."""
    tables = (
        (("measure", "the bot", "of what it never learned"), audit_rows(audit)),
        (("person", "conversations", "exposure, bits", "repeated", "AUC"), people_rows(audit)),
    )
    lines = ["## What it gives away", ""]
    for heading, found in tables:
        if found:
            lines += ["| " + " | ".join(heading) + " |", "|---" * len(heading) + "|"]
            lines += ["| " + " | ".join(map(_shown, row)) + " |" for row in found]
            lines.append("")
    return lines


def audit_rows(audit: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """List each measure of an audit: its label, the bot's figure, and that of unlearned text."""
    found = []
    if (exposure := audit["exposure"]) is not None:
        label = f"exposure of {exposure['canaries']} canaries, of {exposure['at_most']:.0f} bits"
        own = _with_interval(exposure["bits"], exposure["interval"], 2)
        other = _with_interval(exposure["unlearned_bits"], exposure["unlearned_interval"], 2)
        found.append((label, own, other))
        found.append(("canaries ranked first", str(exposure["largest"]), ""))
    extraction = audit["extraction"]
    people = extraction["people_share"]
    found += [
        (
            f"of {extraction['samples']:,} replies, with 8 learned tokens in a row",
            _with_interval(extraction["share"], extraction["interval"], 3),
            "-" if people is None else f"{people:.3f} (people)",
        ),
        ("of those, learned once only", str(extraction["once"]), ""),
        ("longest learned run, in tokens", str(extraction["longest_tokens"]), ""),
    ]
    for name, label in (
        ("membership", "learned told from unlearned (AUC)"),
        ("calibrated", "the same, calibrated by its base"),
    ):
        if (auc := audit[name]) is not None:
            found.append((label, _with_interval(auc["auc"], auc["interval"], 3), "0.500 (chance)"))
    return found


def people_rows(audit: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """List what an audit says of each person."""
    found: list[tuple[str, ...]] = []
    for each in audit["people"]:
        exposure, auc = each["exposure"], each["membership"]
        found.append(
            (
                each["person"],
                f"{each['conversations']:,}",
                "-"
                if exposure is None
                else _with_interval(exposure["bits"], exposure["interval"], 2),
                str(each["repeated"]),
                "-" if auc is None else _with_interval(auc["auc"], auc["interval"], 3),
            )
        )
    return found


def _with_interval(value: float, interval: Sequence[float], digits: int) -> str:
    low, high = interval
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def bars(title: str, labels: Sequence[str], values: Sequence[float], axis: str) -> str:
    """Draw a bar chart as SVG, for light and dark pages."""
    high, low = max(0.0, *values), min(0.0, *values)
    span = (high - low) or 1.0
    right = CHART_WIDTH - CHART_MARGIN
    step = (right - CHART_MARGIN) / len(values)
    zero = CHART_MARGIN + (CHART_HEIGHT - 2 * CHART_MARGIN) * high / span
    parts = [
        _OPEN.format(width=CHART_WIDTH, height=CHART_HEIGHT, title=html.escape(title)),
        _text(CHART_WIDTH / 2, 16, title),
        f'<line x1="{CHART_MARGIN}" x2="{right}" y1="{zero:.1f}" y2="{zero:.1f}"/>',
    ]
    for n, (label, value) in enumerate(zip(labels, values, strict=True)):
        x = CHART_MARGIN + (n + 0.5) * step
        tall, wide = max(0.5, abs(value) / span * (CHART_HEIGHT - 2 * CHART_MARGIN)), step / 1.5
        top = zero - tall if value >= 0 else zero
        at = f'x="{x - wide / 2:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall:.1f}"'
        parts += [
            f"<rect {at}/>",
            _text(x, top - 4 if value >= 0 else top + tall + 14, f"{value:.3f}"),
            _text(x, CHART_HEIGHT - 20, label),
        ]
    return "\n".join([*parts, _text(CHART_WIDTH / 2, CHART_HEIGHT - 4, axis), "</svg>"]) + "\n"


_OPEN = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" \
aria-label="{title}" font-family="system-ui, sans-serif" font-size="12" text-anchor="middle">
<style>text{{fill:#333}}rect{{fill:#3a6ea5}}line{{stroke:#999}}
@media(prefers-color-scheme:dark){{text{{fill:#ddd}}rect{{fill:#7fb0e0}}}}</style>"""


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}">{html.escape(text)}</text>'


def _shown(text: str) -> str:
    """Escape text for Markdown, so that nothing of it is a link, a picture or a tag."""
    escaped = html.escape(" ⏎ ".join(text.splitlines()), quote=False)
    return "".join(f"\\{c}" if c in "\\`*_[]|#!~" else c for c in escaped)
