"""elman import"""

from pathlib import Path
from typing import Annotated

import typer

from elman.cli.text import plain, tell


def import_(
    source: Annotated[
        str, typer.Argument(help="What `elman export` wrote, or hf://OWNER/NAME on the Hub.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The bot's new folder.")],
) -> None:
    """Make a bot's folder of what `elman export` wrote: the same bits, and no code.

    Example: `elman import ann.onnx --out bots/ann`
    """
    from elman.export.importing import import_bot
    from elman.model.config import ModelConfig
    from elman.model.folder import read_config

    import_bot(source, out)
    outside = ModelConfig.model_validate(read_config(out, trust=None)["model"]).outside_cells
    for cell in outside:
        tell(f"its cell {cell} is code that did not come along: you need it, and --trust {cell}")
    print(plain(f"{out}: talk with it: elman chat {out}"))
