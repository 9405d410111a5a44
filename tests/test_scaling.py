"""What docs/scale.md stands on: a simulator held to what was measured, and manifests that hold."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[1]
SCALE = ROOT / "docs" / "scale"
KUBERNETES = "1.30"


@pytest.fixture(scope="module")
def scaling() -> ModuleType:
    path = ROOT / "benchmarks" / "scaling.py"
    spec = importlib.util.spec_from_file_location("scaling", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scaling"] = module
    spec.loader.exec_module(module)
    return module


def test_the_simulator_says_what_was_measured(scaling: ModuleType) -> None:
    measured = json.loads(scaling.MEASURED.read_text())
    found = list(scaling.errors(measured))
    assert [name for name, _, _ in found] == [
        "1 x 8 rows",
        "1 x 16 rows",
        "2 x 8 rows",
        "2 x 16 rows",
    ]
    for name, seconds, simulated in found:
        assert abs(simulated / seconds - 1) < scaling.MAX_ERROR, name


def test_a_wrong_cost_is_noticed(scaling: ModuleType) -> None:
    measured = json.loads(scaling.MEASURED.read_text())
    measured["fit"]["exchanges"] = [
        [size, 90 * seconds] for size, seconds in measured["fit"]["exchanges"]
    ]
    assert any(
        abs(simulated / seconds - 1) >= scaling.MAX_ERROR
        for _, seconds, simulated in scaling.errors(measured)
    )


def test_one_process_exchanges_nothing_and_many_stop_paying(scaling: ModuleType) -> None:
    cost = scaling.TrainingCost(0.01, 0.02, 0.001, 1e6)
    assert cost.step(1, 4, 1e9) == pytest.approx(0.09)
    assert cost.step(2, 4, 1e6) == pytest.approx(0.09 + 0.001 + 1)
    assert cost.speedup(1, 4, 1e6) == 1
    free = scaling.TrainingCost(0.0, 0.02, 0.0, float("inf"))
    assert free.speedup(64, 4, 1e6) == pytest.approx(64)


def test_the_figures_of_the_page_are_those_of_the_script(
    scaling: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    scaling.show(json.loads(scaling.MEASURED.read_text()))
    page = (ROOT / "docs" / "scale.md").read_text("utf-8")
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(rows) > 20
    assert [row for row in rows if row not in page] == []


@pytest.mark.parametrize("path", sorted(SCALE.glob("*.yaml")), ids=lambda path: path.name)
def test_manifests_are_what_kubernetes_takes(path: Path) -> None:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(path.read_text("utf-8")))
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    names = {document["kind"] for document in documents}
    assert names & {"Job", "Deployment"}
    (work,) = (each for each in documents if each["kind"] in ("Job", "Deployment"))
    pod = work["spec"]["template"]["spec"]
    volumes = {each["name"] for each in pod["volumes"]}
    for container in pod["containers"]:
        assert {each["name"] for each in container["volumeMounts"]} <= volumes
        assert container["securityContext"]["readOnlyRootFilesystem"]
    for service in (each for each in documents if each["kind"] == "Service"):
        labels = work["spec"]["template"]["metadata"]["labels"]
        by_kubernetes = {"job-name": work["metadata"]["name"]}
        assert service["spec"]["selector"].items() <= (labels | by_kubernetes).items()


def test_a_wrong_manifest_is_noticed() -> None:
    documents = list(yaml.safe_load_all((SCALE / "serve.k8s.yaml").read_text("utf-8")))
    documents[0]["spec"]["replica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(documents[0], KUBERNETES, strict=True)


@pytest.mark.parametrize("path", sorted(SCALE.glob("*.slurm")), ids=lambda path: path.name)
def test_scripts_hold(path: Path) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    for command in (["bash", "-n"], [str(shellcheck), "--severity=style", "--shell=bash"]):
        ran = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"^#SBATCH --time=", path.read_text("utf-8"), re.MULTILINE)


def test_a_wrong_script_is_noticed(tmp_path: Path) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    (tmp_path / "wrong.sh").write_text("#!/bin/bash\nrm -r $1\n")
    ran = subprocess.run([shellcheck, tmp_path / "wrong.sh"], capture_output=True, check=False)
    assert ran.returncode == 1
