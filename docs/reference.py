"""Writes the pages that are made from the code: every command, every route, every setting.

python docs/reference.py
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import typer

import elman
from elman.cli import app
from elman.serve.http.access import AccessPolicy
from elman.serve.http.app import create_app
from elman.serve.service import Service
from elman.train.settings import put_table

DOCS = Path(__file__).parent

PUBLIC_NAMES: dict[str, str] = vars(elman)["_HOMES"]
"""The module of each public name: the stub that type checkers see does not have it."""

MADE = "<!-- Made by `python docs/reference.py`: change the code instead. -->\n"
CLI_HEAD = f"""# Commands

{MADE}
`--help` after any of them says the same. Exit codes: 0, it is done; 1, a check found something;
2, what was given is wrong, which one sentence says.
"""

HTTP_HEAD = f"""# HTTP

{MADE}
What `elman serve` answers. `GET /openapi.json` gives the whole schema, with every answer in it.
[Serving](serving.md) says what the limits are for and who may ask. A field may be left out unless
it is needed. What takes any JSON is there so that a client may send it: what Elman cannot do is
refused in words.
"""

API_HEAD = f"""# Python API

{MADE}
Made from the docstrings. [Elman as a library](library.md) has every name in one table, and shows
how they are used together.
"""


def cli_page() -> str:
    """Write every command with its arguments and options."""
    root: Any = typer.main.get_command(app)
    return CLI_HEAD + "".join(
        _command(f"elman {' '.join(path)}", command) for path, command in _leaves(root, ())
    )


def _leaves(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        here = (*path, name)
        yield from _leaves(command, here) if hasattr(command, "commands") else [(here, command)]


def _command(name: str, command: Any) -> str:
    given = [each for each in command.params if each.name != "help"]
    arguments = [each for each in given if each.param_type_name == "argument"]
    options = [each for each in given if each.param_type_name == "option" and not each.hidden]
    usage = " ".join([name, *map(_argument, arguments), "[OPTIONS]"])
    text = re.sub(r"\n(?!\n)\s*", " ", (command.help or "").strip().replace("\n\n", "\0"))
    text = text.replace("\0", "\n\n")
    rows = [f"| `{_argument(each)}` | {_one_line(each.help)} |" for each in arguments]
    rows += [f"| `{_flags(each)}` | {_one_line(each.help)} |" for each in options]
    table = "\n".join(["| argument or option | what it is |", "| --- | --- |", *rows])
    return f"\n## {name}\n\n```text\n{usage}\n```\n\n{text}\n" + (f"\n{table}\n" if rows else "")


def _argument(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    many = "..." if argument.nargs == -1 else ""
    return f"{name}{many}" if argument.required else f"[{name}]{many}"


def _flags(option: Any) -> str:
    flags = ", ".join(option.opts)
    if option.is_flag:
        return " / ".join([flags, *option.secondary_opts])
    return f"{flags} {option.name.upper()}"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def http_page() -> str:
    """Write every route with what is asked."""
    nothing = cast(Service, SimpleNamespace(keys=None, metrics=None))
    schema = create_app(nothing, AccessPolicy("127.0.0.1")).openapi()
    models = schema["components"]["schemas"]
    routes = "".join(
        _route(f"{method.upper()} {path}", operation, models)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    )
    return HTTP_HEAD + routes


def _route(name: str, operation: dict[str, Any], models: dict[str, Any]) -> str:
    rows = [
        _field(each["name"], each["schema"], each.get("description"), each["required"])
        for each in operation.get("parameters", ())
    ]
    if body := operation.get("requestBody"):
        model = models[_name(body["content"]["application/json"]["schema"])]
        needed = model.get("required", ())
        rows += [
            _field(field, schema, schema.get("description"), field in needed)
            for field, schema in model["properties"].items()
        ]
    table = "\n".join(["| field | what it takes | |", "| --- | --- | --- |", *rows])
    said = operation.get("description") or operation["summary"]
    codes = ", ".join(operation["responses"])
    end = f"\n{table}\n" if rows else ""
    return f"\n## {name}\n\n{said}\n{end}\nAnswers: {codes}.\n"


def _field(name: str, schema: dict[str, Any], description: str | None, needed: bool) -> str:
    said = "needed" if needed else ""
    if (default := schema.get("default")) is not None:
        said = f"default {default}"
    words = ". ".join(filter(None, [said, _one_line(description)]))
    return f"| `{name}` | {_type(schema)} | {words} |"


def _type(schema: dict[str, Any]) -> str:
    """Say in words what a field of JSON takes."""
    kinds = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    return " or ".join(dict.fromkeys(map(_one_type, kinds)))


def _one_type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"an object ({_name(schema)})"
    if "const" in schema or "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "any JSON")
    if kind == "array":
        items = _type(schema.get("items", {}))
        most = f", at most {schema['maxItems']:,}" if "maxItems" in schema else ""
        return f"a list ({items}{most})"
    words = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    bounds = {
        "minimum": "from {:,g}",
        "exclusiveMinimum": "above {:,g}",
        "maximum": "to {:,g}",
        "exclusiveMaximum": "below {:,g}",
        "maxLength": "of at most {:,} characters",
        "maxProperties": "of at most {:,} entries",
    }
    limits = [text.format(schema[name]) for name, text in bounds.items() if name in schema]
    return " ".join([words.get(kind, kind), *limits])


def _name(reference: dict[str, Any]) -> str:
    name: str = reference["$ref"].rsplit("/", 1)[1]
    return name


def api_page() -> str:
    """Write a place for each public name, in which mkdocstrings puts its docstring."""
    names: dict[str, list[str]] = {}
    homes = cast(dict[str, str], vars(elman)["_HOMES"])
    for name, home in homes.items():
        if name == "unfold":  # a module of what stands beside it
            continue
        names.setdefault(".".join(home.split(".")[:2]), []).append(name)
    return API_HEAD + "".join(
        f"\n## {home}\n\n" + "".join(f"::: elman.{name}\n" for name in own)
        for home, own in names.items()
        if home != "elman"
    )


def llms_txt() -> str:
    """List every page of the site with its first sentence, for programs that read."""
    nav = tomllib.loads((DOCS.parent / "zensical.toml").read_text("utf-8"))["project"]["nav"]
    lines = ["# Elman", "", f"> {_first_sentence(DOCS / 'index.md')}"]
    for entry in nav:
        ((section, inside),) = entry.items()
        if isinstance(inside, str):
            continue
        lines += ["", f"## {section}", ""]
        for page in inside:
            ((title, file),) = page.items()
            link = file.replace(".md", ".html")
            lines.append(f"- [{title}]({link}): {_first_sentence(DOCS / file)}")
    return "\n".join(lines) + "\n"


def _first_sentence(page: Path) -> str:
    """Return the first sentence of prose of a page, without its links."""
    parts = page.read_text("utf-8").split("\n\n")
    prose = [part for part in parts if re.match(r"[A-Z`]", part)]
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(prose[0].split()))
    return re.split(r"(?<=[.?])\s", text)[0].replace("*", "")


def pages() -> dict[Path, str]:
    """Return every page that is made from the code."""
    settings = DOCS / "configuration.md"
    return {
        DOCS / "cli.md": cli_page(),
        DOCS / "http.md": http_page(),
        DOCS / "api.md": api_page(),
        DOCS / "llms.txt": llms_txt(),
        settings: put_table(settings.read_text("utf-8")),
    }


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, "utf-8")
