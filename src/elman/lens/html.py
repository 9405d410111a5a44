"""The shell of the lens's pages: one document that needs nothing else."""

import json
from html import escape
from pathlib import Path
from string import Template
from typing import Any


def beside(name: str) -> str:
    """Read a text file of this folder."""
    return Path(__file__).with_name(name).read_text("utf-8")


def fill(name: str, /, **values: object) -> str:
    """Fill in the `$names` of an HTML file of this folder; the values are HTML, too."""
    return Template(beside(name)).substitute(values)


def document(title: str, style: str, body: str, script: str) -> str:
    """Make a whole page; `title` is text, the others are trusted source.

    Its Content-Security-Policy lets nothing be fetched or sent.
    """
    return fill("document.html", title=escape(title), style=style, body=body, script=script)


def data(name: str, value: Any) -> str:
    """JSON for a page's script, in which no text can end the element that holds it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>'
