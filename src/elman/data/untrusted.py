"""JSON and settings that somebody else may have written: understood, or refused in one sentence."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from elman.errors import ElmanError

SHOWN_ERRORS = 3
"""Wrong values that a sentence names; the others are counted."""

SHOWN_CHARACTERS = 60
"""Of a wrong value."""

Settings = TypeVar("Settings", bound=BaseModel)


def read_text(path: Path, max_bytes: int) -> str:
    """Read a small file of text.

    Raises:
        ElmanError: where it is no regular file (a pipe would never end), is larger than that, or
            is not UTF-8.
    """
    if not path.is_file():
        raise ElmanError(f"{path}: {'is no file' if path.exists() else 'no such file'}")
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise ElmanError(f"{path}: larger than {max_bytes >> 20} MB, which no such file is")
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ElmanError(f"{path}: damaged: {error}") from None
    except OSError as error:
        raise ElmanError(f"{path}: cannot be read: {error.strerror}") from None


def parse_json(text: str, where: object) -> Any:
    """Parse JSON.

    Raises:
        ElmanError: where it is broken, or nested too deeply to be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ElmanError(f"{where}: damaged: JSON nested too deeply") from None
    except ValueError as error:
        raise ElmanError(f"{where}: damaged: {error}") from None


def validated(
    kind: type[Settings], values: Any, where: object = None, section: str = ""
) -> Settings:
    """Make settings of values.

    Args:
        kind: of settings.
        values: as parsed.
        where: they come from, named before what is wrong.
        section: that they are, where they are a part of a configuration.

    Raises:
        ElmanError: naming the first values that are wrong, and what they should be.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        place = "" if where is None else f"{where}: "
        raise ElmanError(place + _wrong_values(error, section)) from None


def _wrong_values(error: ValidationError, section: str) -> str:
    found = error.errors(include_url=False)
    lines = [_wrong_value(item, section) for item in found[:SHOWN_ERRORS]]
    if more := len(found) - len(lines):
        lines.append(f"and {more:,} more")
    return "; ".join(lines)


def _wrong_value(item: Mapping[str, Any], section: str) -> str:
    parts = [*([section] if section else []), *item["loc"]]
    name = ".".join(str(part)[:SHOWN_CHARACTERS] for part in parts) or "config"
    said = f"{name}: {item['msg'].removeprefix('Value error, ')}"
    if item["type"] in ("value_error", "missing"):
        return said
    got = repr(item["input"])
    if len(got) > SHOWN_CHARACTERS:
        got = got[:SHOWN_CHARACTERS] + "..."
    return f"{said} (got {got})"
