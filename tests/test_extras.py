"""What works without what: layers with torch alone, one sentence for each missing extra."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

from elman.errors import EXTRA_MODULES

PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))

# Refuses modules as if they were not installed.
BLOCKING = """
import json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

blocked = set(json.loads(sys.argv.pop(1)))
assert not blocked & sys.modules.keys()
sys.meta_path.insert(0, Blocker())
"""

LAYERS = """
import torch
import elman

for layer in (elman.LSTM(3, 4, num_layers=2), elman.GRU(3, 4), elman.MinGRU(3, 4)):
    x = torch.randn(6, 2, 3, requires_grad=True)
    for unfold in (None, elman.Truncated(2), elman.Checkpointed(2)):
        h, _ = layer(x, unfold=unfold)
        h.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())
loss = elman.linear_cross_entropy(torch.randn(5, 4), torch.randn(7, 4), torch.arange(5))
assert loss.isfinite()
"""

COMMAND = "from elman.cli import main; main()"


def run_without(
    blocked: set[str], code: str, *arguments: object
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKING + code, json.dumps(sorted(blocked))]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def with_requirements(distribution: str) -> set[str]:
    """Return a distribution and all that it requires without any extra, normalised."""
    found: set[str] = set()
    wanted = [distribution]
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name not in found:
            found.add(name)
            try:
                lines = requires(name) or []
            except ModuleNotFoundError:
                continue
            wanted += [re.split(r"[^\w.-]", line)[0] for line in lines if "extra ==" not in line]
    return found


def test_layers_need_nothing_but_torch_and_numpy() -> None:
    allowed = with_requirements("torch") | {"numpy", "elman"}
    blocked = {
        module
        for module, owners in packages_distributions().items()
        if not {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners} & allowed
    }
    assert {"pydantic", "tokenizers", "safetensors", "typer", "rich"} <= blocked
    ran = run_without(blocked, LAYERS)
    assert ran.returncode == 0, ran.stderr


def test_the_extras_are_those_of_the_package() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    modules = {
        extra: tuple(
            re.split(r"[^\w-]", line)[0].replace("-", "_")
            for line in lines
            if not line.startswith("elman[")
        )
        for extra, lines in extras.items()
        if extra not in ("dev", "docs")
    }
    assert modules == EXTRA_MODULES
    (all_of_them,) = [line for line in extras["dev"] if line.startswith("elman[")]
    assert set(re.findall(r"\w+", all_of_them)) == {"elman", "docs", *modules}


@pytest.mark.parametrize("extra", EXTRA_MODULES)
def test_a_missing_extra_is_one_sentence(
    extra: str, trained: Path, chats: Path, tmp_path: Path
) -> None:
    table = tmp_path / "chats.parquet"
    table.write_bytes(b"PAR1" + bytes(16) + b"PAR1")
    arrow = tmp_path / "chats.arrow"
    arrow.write_bytes(b"ARROW1" + bytes(16))
    commands: dict[str, list[object]] = {
        "train": ["train", chats],
        "serve": ["serve", trained],
        "evaluate": ["eval", trained, chats],
        "parquet": ["data", "inspect", table],
        "postgres": ["sessions", "list", "--db", "postgresql:///elman"],
        "datasets": ["data", "inspect", arrow],
        "tensorboard": ["watch", trained, "--tensorboard", tmp_path / "events"],
        "hub": ["import", "hf://ann/bot", "--out", tmp_path / "bot"],
        "onnx": ["export", trained, "--to", "onnx", "--out", tmp_path / "bot.onnx"],
    }
    ran = run_without(set(EXTRA_MODULES[extra]), COMMAND, *commands[extra])
    assert ran.returncode == 2
    *_, sentence = ran.stderr.splitlines()
    assert sentence.startswith("elman: ")
    assert sentence.endswith(f": pip install 'elman[{extra}]'")
    assert "Traceback" not in ran.stderr


@pytest.mark.slow
def test_the_core_and_torch_train_without_any_other_extra(
    chats: Path, tmp_path: Path, small_run: tuple[str, ...]
) -> None:
    extras = EXTRA_MODULES.keys() - {"train", "onnx"}  # torch itself asks whether there is onnx
    optional = {m for extra in extras for m in EXTRA_MODULES[extra]}
    bot = tmp_path / "ann"
    two_steps = (*small_run, "--set", "train.steps=2")
    trained = run_without(optional, COMMAND, "train", chats, "--out", bot, *two_steps)
    assert trained.returncode == 0, trained.stderr
    shown = run_without(optional, COMMAND, "data", "inspect", chats)
    assert shown.returncode == 0, shown.stderr
