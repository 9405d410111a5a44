"""Builds the documentation as a site, into site/.

    python docs/build_site.py

Formulas become MathML here, so that a page needs no script and no font for them. Whatever a page
would fetch from elsewhere is an error, as is a link that leads nowhere.
"""

import html
import re
import subprocess
import sys
from pathlib import Path

import latex2mathml.converter

ROOT = Path(__file__).parents[1]
SITE = ROOT / "site"

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*?\bsrc="?(https?:)?//"""
    r"""|<link\b(?![^>]*rel="?canonical)[^>]*?\bhref="?(https?:)?//"""
    r"""|@import\s+["'(]*(https?:)?//|url\(["']?(https?:)?//"""
)
"""What makes a browser ask another server."""


def with_mathml(page: str) -> str:
    """Put MathML in the place of each formula in TeX."""

    def formula(found: re.Match[str]) -> str:
        display = "block" if found[2] == "[" else "inline"
        tex = html.unescape(found[3]).strip().replace("{aligned}", "{align*}")
        mathml = latex2mathml.converter.convert(tex, display=display)
        return f'<{found[1]} class="math" tabindex="0">{mathml}</{found[1]}>'

    return FORMULA.sub(formula, page)


def main() -> None:
    """See the top of this file."""
    subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict"], cwd=ROOT, check=True
    )
    for page in SITE.rglob("*.html"):
        text = page.read_text("utf-8")
        page.write_text(with_mathml(text), "utf-8")
    asks = [
        f"{file.relative_to(SITE)}: {found[0]}"
        for file in SITE.rglob("*")
        if file.suffix in (".html", ".css")
        for found in FETCHED.finditer(file.read_text("utf-8"))
    ]
    if asks:
        sys.exit("these would be fetched from elsewhere:\n" + "\n".join(asks))


if __name__ == "__main__":
    main()
