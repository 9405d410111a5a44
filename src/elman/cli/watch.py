"""elman watch"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli.text import console, is_interactive, plain
from elman.errors import ElmanError


def watch(
    run: Annotated[Path, typer.Argument(help="The folder of a run: elman train's --out.")],
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Show it here instead of in a browser.")
    ] = False,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Write TensorBoard's event files into a folder instead.")
    ] = None,
    port: Annotated[int, typer.Option(help="Of the page; 0 takes a free one.", max=65535)] = 0,
    browser: Annotated[
        bool, typer.Option(help="Open the page, where somebody sits at this terminal.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what the log says now, as one JSON object.")
    ] = False,
) -> None:
    """Watch a run: while it trains, after it was stopped, and when it has ended.

    Example: `elman watch bots/ann`; the page is for this computer alone.
    """
    from elman.lens.watching.log import check

    if sum([terminal, tensorboard is not None, as_json]) > 1:
        raise ElmanError("choose one of --terminal, --tensorboard and --json")
    check(run)
    try:
        if as_json:
            _print_json(run)
        elif tensorboard is not None:
            _write_events(run, tensorboard)
        elif terminal:
            _show(run)
        else:
            _serve(run, port, browser)
    except KeyboardInterrupt:
        return


def _print_json(run: Path) -> None:
    from elman.lens.watching.log import LogPosition, Summary, read_config, read_on

    seen, place, more = Summary(), LogPosition(), True
    while more:
        part = read_on(run, place)
        seen.add(part)
        place, more = part.place, part.more
    print(json.dumps({"run": str(run), **seen.to_json(read_config(run))}))


def _write_events(run: Path, folder: Path) -> None:
    from elman.lens.watching.tensorboard import write_events

    print(f"look at it: tensorboard --logdir {folder} (Ctrl-C ends the writing)", file=sys.stderr)
    written = 0
    for written in write_events(run, folder):  # noqa: B007 (the last one is told)
        pass
    print(f"{written:,} events in {folder}")


def _show(run: Path) -> None:
    from rich.live import Live

    from elman.lens.watching.log import Summary, follow, read_config
    from elman.lens.watching.terminal import view

    seen = Summary()
    name = plain(run.resolve().name)
    with Live(console=console(), auto_refresh=False, vertical_overflow="visible") as live:
        for part in follow(run):
            seen.add(_shown(part))
            live.update(view(name, read_config(run), seen), refresh=not part.more)


def _shown(value: Any) -> Any:
    """Leave out of texts what a terminal would obey."""
    from dataclasses import replace

    from elman.lens.watching.log import LogLines

    if isinstance(value, LogLines):
        return replace(value, events=_shown(value.events))
    if isinstance(value, dict):
        return {key: _shown(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_shown(part) for part in value]
    return plain(value) if isinstance(value, str) else value


def _serve(run: Path, port: int, browser: bool) -> None:
    from elman.lens.watching.server import make_server

    server = make_server(run, port)
    address = f"http://{server.server_address[0]!s}:{server.server_address[1]}/"
    print(f"watching {plain(str(run))} at {address} (Ctrl-C ends it)", flush=True)
    if browser and is_interactive():
        import webbrowser

        webbrowser.open(address)
    with server:
        server.serve_forever()
