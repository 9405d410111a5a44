"""The command line: one typed function per verb, each in a file of its own."""

import io
import sys
from typing import Annotated

import typer

from elman import __version__
from elman.cli import (
    ab,
    audit,
    bench,
    chat,
    check,
    data,
    demo,
    doctor,
    evaluate,
    export,
    forget,
    import_,
    keys,
    learn,
    lens,
    persona,
    serve,
    sessions,
    train,
    versions,
    watch,
)
from elman.cli.renamed import with_new_names
from elman.cli.text import plain
from elman.errors import ElmanError, telling_where_torch_is_missing

app = typer.Typer(
    name="elman",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Turn conversations into a small, private chatbot: a recurrent network, trained here.",
    epilog="Begin with `elman demo`, then `elman train CHATS --bot NAME --out bots/ann`.",
)


def _show_version(asked: bool) -> None:
    if asked:
        from elman.native.library import load

        print(f"elman {__version__} ({load()[1]})")
        raise typer.Exit


@app.callback()
def _(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print it, and end."),
    ] = False,
) -> None:
    pass


app.command("demo")(demo.demo)
app.add_typer(data.app)
app.command("train")(train.train)
app.command("chat")(chat.chat)
app.command("eval")(evaluate.evaluate)
app.command("ab")(ab.ab)
app.command("audit")(audit.audit)
app.command("forget")(forget.forget)
app.command("persona")(persona.persona)
app.command("lens")(lens.lens)
app.command("watch")(watch.watch)
app.command("check")(check.check)
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)
app.add_typer(sessions.app)
app.command("learn")(learn.learn)
app.command("versions")(versions.versions)
app.command("rollback")(versions.rollback)
app.command("export")(export.export)
app.command("import")(import_.import_)
app.command("serve")(serve.serve)
app.add_typer(keys.app)


def main() -> None:
    """Run the command `elman`; what is wrong with what was given is one line, and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        # Where an old encoding lacks a character, it is replaced: nothing ends for it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with telling_where_torch_is_missing():
            app(with_new_names(sys.argv[1:]))
    except ElmanError as error:
        print(f"elman: {plain(' '.join(str(error).splitlines()))}", file=sys.stderr)
        sys.exit(2)
    except MemoryError as error:
        why = plain(str(error)) or "end other programs, or take a smaller bot"
        print(f"elman: out of memory: {why}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read our output has gone; writing the rest at exit would fail again.
        sys.stdout = None
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"elman: {plain(where)}{error.strerror or error}", file=sys.stderr)
        sys.exit(2)
