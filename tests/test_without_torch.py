"""What works on a machine without torch, and what is said where it does not."""

import importlib.util
from collections.abc import Callable
from typing import Any

HIDDEN = """
import importlib.util
assert importlib.util.find_spec("torch") is None
try:
    import torch.nn
except ModuleNotFoundError as error:
    assert error.name == "torch"
else:
    raise AssertionError
"""


def test_torch_is_hidden(without_torch: Callable[..., Any]) -> None:
    assert importlib.util.find_spec("torch") is not None
    ran = without_torch("-c", HIDDEN)
    assert ran.code == 0, ran.err
