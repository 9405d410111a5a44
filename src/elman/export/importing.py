"""A bot that comes home: from a folder, from the Hub, or from one file."""

from collections.abc import Callable, Collection
from pathlib import Path

from elman.errors import ElmanError, require
from elman.export.folder import take_folder
from elman.model.folder import folder_of
from elman.model.hub import downloaded, is_on_hub


def _take_onnx(path: Path, out: Path) -> None:
    require("onnx", f"reading {path.name}")
    from elman.export.onnx_file import take_onnx

    take_onnx(path, out)


IMPORTERS: dict[str, Callable[[Path, Path], None]] = {".onnx": _take_onnx}
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
