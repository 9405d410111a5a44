"""Bots on the Hugging Face Hub, each named `hf://OWNER/NAME` or `hf://OWNER/NAME@REVISION`.

Nothing is fetched for another name: `bots/ann` is a folder here, and no bot of somebody's.
Of a repository only the files below are taken. All are JSON and safetensors; no code is.
"""

import re
from pathlib import Path
from typing import cast

import elman
from elman.data.files import CONFIG
from elman.errors import ElmanError, require
from elman.model.folder import LEAVING_FILES, REPLIES

HUB = "hf://"

TAKEN_FILES = (CONFIG, *LEAVING_FILES, REPLIES)
"""What is taken of a bot that comes from elsewhere."""

_NAME = re.compile(rf"{HUB}(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)


def is_on_hub(name: Path | str) -> bool:
    """Tell whether a bot's name is one on the Hub."""
    return isinstance(name, str) and name.startswith(HUB)


def downloaded(name: str) -> Path:
    """Return the folder of a bot on the Hub, after what is not in the library's cache was fetched.

    Raises:
        ElmanError: where the library is not installed, there is no such bot, or nobody answers.
    """
    require("hub", name)
    from huggingface_hub import snapshot_download

    found = _NAME.fullmatch(name)
    if found is None:
        raise ElmanError(f"{name}: expected {HUB}OWNER/NAME, or {HUB}OWNER/NAME@REVISION")
    try:
        folder = snapshot_download(
            found["repo"],
            revision=found["revision"],
            allow_patterns=list(TAKEN_FILES),
            library_name="elman",
            library_version=elman.__version__,
        )
    except hub_errors() as error:
        raise ElmanError(f"{name}: {error or type(error).__name__}") from None
    return Path(folder)


def hub_errors() -> tuple[type[Exception], ...]:
    """Return what the library raises where the Hub refuses or does not answer, or a name is none.

    Which errors its HTTP client has depends on its version; those are the bases of its own.
    """
    from huggingface_hub.errors import HfHubHTTPError

    return (*cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__), ValueError)
