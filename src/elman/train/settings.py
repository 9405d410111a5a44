"""Every setting of a run, as the fields of its configuration say it.

The command line reads these from a file, so that its help needs neither torch nor pydantic, and
docs/configuration.md shows them. `python -m elman.train.settings` writes both anew.
"""

import json
from pathlib import Path
from typing import Any

import elman
from elman.train.config import SECTIONS

SETTINGS_JSON = Path(elman.__file__).parent / "cli" / "settings.json"

TABLE_BEGIN, TABLE_END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"
"""Around the table in a document."""


def list_settings() -> list[dict[str, Any]]:
    """List every setting: its name, default, how it is chosen, range and description."""
    return [
        {
            "name": f"{table}.{name}",
            "default": schema.get("default"),
            "chosen": schema.get("chosen"),
            "range": _range(schema),
            "description": schema["description"],
        }
        for table, section in SECTIONS.items()
        for name, schema in section.model_json_schema()["properties"].items()
    ]


def _range(schema: dict[str, Any]) -> str:
    """Say in words which values a field takes."""
    schema = next((each for each in schema.get("anyOf", ()) if each["type"] != "null"), schema)
    if "enum" in schema:
        return " or ".join(filter(None, (", ".join(schema["enum"][:-1]), schema["enum"][-1])))
    words = {"string": "text", "boolean": "true or false", "array": "a list of texts"}
    if schema["type"] in words:
        return words[schema["type"]]
    kind = "whole number" if schema["type"] == "integer" else "number"
    bounds = {
        "minimum": "from {:,}",
        "exclusiveMinimum": "above {:,}",
        "maximum": "to {:,}",
        "exclusiveMaximum": "below {:,}",
    }
    said = [words.format(schema[bound]) for bound, words in bounds.items() if bound in schema]
    return " ".join([kind, *said])


def table() -> str:
    """Write every setting as a table in Markdown."""
    lines = ["| setting | default | values | what it is |", "|---|---|---|---|"]
    for each in list_settings():
        default = each["chosen"] or f"`{json.dumps(each['default'])}`".replace("`null`", "none")
        lines.append(f"| `{each['name']}` | {default} | {each['range']} | {each['description']} |")
    return "\n".join(lines) + "\n"


def put_table(document: str) -> str:
    """Put the table in the place of the one that a document shows."""
    before, _, rest = document.partition(TABLE_BEGIN)
    _, _, after = rest.partition(TABLE_END)
    return f"{before}{TABLE_BEGIN}{table()}{TABLE_END}{after}"


if __name__ == "__main__":
    SETTINGS_JSON.write_text(json.dumps(list_settings(), indent=1) + "\n", "utf-8")
    shown = Path("docs/configuration.md")
    shown.write_text(put_table(shown.read_text("utf-8")), "utf-8")
