"""Suites that others wrote, against a real server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Served

REFUSED = {"Tool Calling", "Image Input"}
"""What a suite tries and this server refuses with a 400, since it would be a pretence."""

ABSENT = {"openai-chat": set(), "open-responses": {
    "Compaction Endpoint", "Compaction Missing Required Model",
}}  # fmt: skip
"""What a suite looks for and this server has no route for: a memory that never grows is never
compacted."""


@pytest.mark.parametrize("form", ["openai-chat", "open-responses"])
def test_llm_comply(served: Served, form: str) -> None:
    command = [
        sys.executable, "-m", "llm_comply.cli", "--json", "--format", form, "-u",
        f"{served.url}/v1", "-k", "unused", "-m", "ann",
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    results = json.loads(ran.stdout)["results"]
    failed = {each["name"] for each in results if each["status"] == "failed"}
    assert failed == REFUSED | ABSENT[form], ran.stdout
    assert sum(each["status"] == "passed" for each in results) >= 6


def test_schemathesis(served: Served, tmp_path: Path) -> None:
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,"
        "response_schema_conformance,negative_data_rejection"
    )
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{served.url}/openapi.json",
        "--max-examples", "5", "--phases", "coverage,fuzzing", "-c", checks, "--no-color",
        "--generation-database", "none", "--seed", "1", "--request-timeout", "30",
    ]  # fmt: skip
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
