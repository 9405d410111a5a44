"""The public names are one list, and they are what type checkers see."""

import ast
import subprocess
import sys
from pathlib import Path

import elman

PUBLIC = {
    "Cell",
    "Checkpointed",
    "Config",
    "Conversation",
    "ElmanError",
    "Full",
    "GRU",
    "GRUCell",
    "LSTM",
    "LSTMCell",
    "MemoryStore",
    "Message",
    "MinGRU",
    "MinGRUCell",
    "MinLSTM",
    "MinLSTMCell",
    "PackedLinear",
    "RNN",
    "RNNCell",
    "Ranking",
    "Replier",
    "SamplingParams",
    "Session",
    "Stepper",
    "Tokenizer",
    "Truncated",
    "Unfold",
    "__version__",
    "documents",
    "linear_cross_entropy",
    "load_bot",
    "read",
    "recurrence",
    "unfold",
}


def test_public_names() -> None:
    assert set(elman.__all__) == set(dir(elman)) == PUBLIC
    for name in PUBLIC:
        assert getattr(elman, name) is not None


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(elman.__file__).read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == elman._HOMES


def test_importing_elman_and_asking_for_help_load_no_torch() -> None:
    code = "import sys, elman, elman.cli; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
