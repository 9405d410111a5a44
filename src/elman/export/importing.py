"""A bot that comes home: from a folder, from the Hub, or from one file."""

from collections.abc import Callable, Collection
from pathlib import Path

from elman.data.untrusted import validated
from elman.errors import ElmanError, require
from elman.export.folder import make_folder, take_folder
from elman.export.private import config_to_leave
from elman.generate.smalltalk import SmallTalkFile
from elman.model.folder import SMALL_TALK, checked_config, folder_of
from elman.model.hub import downloaded, is_on_hub
from elman.runtime.weights import is_known


def _take_onnx(path: Path, out: Path) -> None:
    require("onnx", f"reading {path.name}")
    from elman.export.onnx_file import take_onnx

    take_onnx(path, out)


def _take_page(path: Path, out: Path) -> None:
    """Make a bot's folder of a page: its weights as they are there, and its small talk."""
    from elman.export.html import PAGE_FORMAT, read_page

    damaged = ElmanError(f"{path}: cut or damaged, or no page that elman export wrote")
    try:
        document, weights, tokenizer = read_page(path)
        if document["page"] != PAGE_FORMAT:
            raise ElmanError(
                f"{path}: of format {str(document['page'])[:20]}; this Elman reads format "
                f"{PAGE_FORMAT}: use a newer one"
            )
        config, small_talk = config_to_leave(document["config"]), document["small_talk"]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise damaged from None
    config = checked_config(config, path, None)
    if not is_known(weights.config):
        raise damaged
    files = {}
    if small_talk is not None:
        files[SMALL_TALK] = validated(SmallTalkFile, small_talk, path, "small_talk").model_dump()
    make_folder(out, config, tokenizer, weights.checked(path), files)


IMPORTERS: dict[str, Callable[[Path, Path], None]] = {".onnx": _take_onnx, ".html": _take_page}
"""What makes a new bot's folder of a file, by the ending of its name."""


def import_bot(source: str, out: Path) -> None:
    """Make a bot's folder of what an export wrote.

    Args:
        source: a folder, a file, or `hf://OWNER/NAME`.
        out: the new folder.

    Raises:
        ElmanError: where it is damaged, foreign or of a newer format, or `out` is there.
    """
    if is_on_hub(source):
        take_folder(downloaded(source), out)
        return
    path = Path(source)
    if path.is_dir():
        take_folder(folder_of(path), out)
        return
    if not path.is_file():
        raise ElmanError(f"{source}: no such file or folder")
    take = IMPORTERS.get(path.suffix.lower())
    if take is None:
        raise ElmanError(f"{source}: expected a folder, hf://OWNER/NAME, or {_listed(IMPORTERS)}")
    take(path, out)


def _listed(endings: Collection[str]) -> str:
    return "a file that ends in " + " or ".join(endings)
