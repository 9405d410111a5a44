"""A fixture for pytest, in every project where Elman is installed."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def elman_check() -> Callable[..., None]:
    """Hold a recurrent layer to its definition: `elman_check(layer)`.

    It takes the arguments of `elman.check`, and fails the test with the report.
    """

    def run(layer: Any, **options: Any) -> None:
        # Not before a test asks: this module is imported in every run of pytest.
        from elman.referee import check

        verdict = check(layer, **options)
        if not verdict.right:
            pytest.fail(str(verdict), pytrace=False)

    return run
