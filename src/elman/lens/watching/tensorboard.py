"""A run's log as TensorBoard's event files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elman.data.files import CONFIG
from elman.errors import ElmanError, missing_extra
from elman.lens.watching.log import LogEvent, follow

STEP_TAGS = {
    "bits_per_byte": "loss/training bits per byte",
    "grad_norm": "gradient/norm",
    "lr": "learning rate",
    "tokens_per_second": "speed/tokens a second",
    "epochs": "passes",
}


def write_events(run: Path, folder: Path) -> Iterator[int]:
    """Write what a log says, as it comes, until the run ends.

    Args:
        run: the run's folder.
        folder: where the event files go.

    Yields:
        How many events have been written so far.

    Raises:
        ElmanError: where the tensorboard package is not installed, or the folder cannot be written.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise missing_extra("tensorboard", "--tensorboard") from None
    try:
        writer = SummaryWriter(str(folder))
    except OSError as error:
        raise ElmanError(f"{folder}: cannot be written: {error.strerror or error}") from None
    try:
        # When it began: the log knows seconds since then.
        began = (run / CONFIG).stat().st_mtime if (run / CONFIG).exists() else 0.0
        written = 0
        for part in follow(run):
            for event in part.events:
                _write(writer, event, began + float(event.get("seconds") or 0.0))
                written += 1
            writer.flush()
            yield written
    finally:
        writer.close()


def _write(writer: Any, event: LogEvent, when: float) -> None:
    step, kind = event["step"], event["kind"]
    if kind == "step":
        for key, tag in STEP_TAGS.items():
            if event.get(key) is not None:
                writer.add_scalar(tag, event[key], step, when)
    elif kind == "validation":
        writer.add_scalar("loss/held-out bits per byte", event["bits_per_byte"], step, when)
    elif kind == "lag":
        for number, layer in enumerate(event["layers"], 1):
            for lag, size in enumerate(layer, 1):
                if size is not None:
                    writer.add_scalar(f"gradient by lag/layer {number}, {lag} back", size, step)
        writer.add_scalar("gradient/reach in messages", event["reach"], step)
    elif kind == "samples":
        for number, sample in enumerate(event["samples"], 1):
            lines = [*sample["heard"], f"-> {sample['bot']}"]
            writer.add_text(f"replies/{number}", "\n\n".join(_literal(x) for x in lines), step)
    elif kind in ("warning", "spike"):
        writer.add_text("warnings", _literal(event["text"]), step)


def _literal(text: str) -> str:
    """TensorBoard shows text as Markdown: an indented line is shown as it is."""
    return "\n".join("    " + line for line in text.splitlines())
