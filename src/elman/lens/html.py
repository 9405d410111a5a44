"""The shell of the lens's pages: one document that needs nothing else."""

import json
from html import escape
from pathlib import Path
from typing import Any


def beside(name: str) -> str:
    """A text file of this folder."""
    return Path(__file__).with_name(name).read_text("utf-8")


def document(title: str, style: str, body: str, script: str) -> str:
    """A whole page; `title` is text, the others are trusted source.

    Its Content-Security-Policy lets nothing be fetched or sent.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
{body}
<script>{script}</script>
</body>
</html>
"""


def data(name: str, value: Any) -> str:
    """JSON for a page's script, in which no text can end the element that holds it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>'
