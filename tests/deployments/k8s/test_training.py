"""The training on several nodes: its pods meet at the first one's name, and the script runs in each."""

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from figa_core.config.rendezvous import host_and_port
from figa_core.config.training import TrainingConfig
from tests.deployments.k8s.files import FOLDER, manifests

SERVICE, JOB = manifests("training.yaml")
SPEC = JOB["spec"]
POD = SPEC["template"]["spec"]
CONTAINER = POD["containers"][0]
FIGA = """#!/bin/bash
echo "figa $*" >> "$LOG"
[[ $1 == join ]] || exit 3
"""
GETENT = """#!/bin/bash
echo "getent $*" >> "$LOG"
[[ $(grep -c getent "$LOG") == 2 ]]
"""


def said() -> dict[str, object]:
    """The part of my-run.toml in the comment at the top."""
    lines = [line.removeprefix("#").strip() for line in (FOLDER / "training.yaml").read_text().splitlines()]
    begin = lines.index("[workspace]")
    return tomllib.loads("\n".join(lines[begin : lines.index("apiVersion: v1")]))


def test_the_job_is_complete_when_its_first_pod_is() -> None:
    assert SPEC["completionMode"] == "Indexed"
    assert SPEC["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    assert SPEC["completions"] == SPEC["parallelism"] > 1
    assert SPEC["maxFailedIndexes"] == 0, "the first pod would wait for a node that never comes"


def test_a_pod_comes_back_but_not_after_an_end_that_is_one() -> None:
    assert POD["restartPolicy"] == "Never", "or Kubernetes refuses the policy"
    evicted, ended = SPEC["podFailurePolicy"]["rules"]
    assert evicted["action"] == "Ignore"
    assert ended["action"] == "FailJob"
    assert ended["onExitCodes"]["containerName"] == CONTAINER["name"]
    assert ended["onExitCodes"]["values"] == [2, 3]


def test_the_pods_have_names_of_the_headless_service() -> None:
    assert SERVICE["spec"]["clusterIP"] == "None"
    assert SERVICE["spec"]["publishNotReadyAddresses"] is True
    assert SERVICE["spec"]["selector"] == {"batch.kubernetes.io/job-name": JOB["metadata"]["name"]}
    assert POD["subdomain"] == SERVICE["metadata"]["name"]


def test_the_settings_in_the_comment_are_valid_and_agree_with_the_manifest() -> None:
    settings = said()
    training = TrainingConfig.model_validate(settings["training"])
    environment = {each["name"]: each["value"] for each in CONTAINER["env"]}
    assert settings["workspace"] == {"path": environment["WORKSPACE"]}
    assert training.nodes == SPEC["completions"]
    assert str(training.processes) == CONTAINER["resources"]["limits"]["nvidia.com/gpu"]
    host, _ = host_and_port(str(training.rendezvous.address))
    assert host == f"{JOB['metadata']['name']}-0.{POD['subdomain']}"
    assert f"getent hosts {host} " in CONTAINER["args"][0]
    mounted = {each["mountPath"] for each in CONTAINER["volumeMounts"]}
    assert str(Path(environment["WORKSPACE"]).parent) in mounted
    assert "/config" in mounted


@pytest.mark.parametrize(
    ("index", "command", "code"),
    [
        ("0", "figa run --config /config/run.toml", 3),
        ("1", "figa join --workspace /shared/my run --node 1", 0),
    ],
)
def test_each_pod_waits_for_the_name_and_runs_its_part(
    index: str, command: str, code: int, tmp_path: Path
) -> None:
    for name, text in (("figa", FIGA), ("getent", GETENT), ("sleep", "#!/bin/bash")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    assert CONTAINER["command"][:3] == ["tini", "--", "bash"]
    environment = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "LOG": str(tmp_path / "log"),
        "JOB_COMPLETION_INDEX": index,
        "WORKSPACE": "/shared/my run",
    }
    done = subprocess.run(
        [*CONTAINER["command"][2:], *CONTAINER["args"]], env=environment, capture_output=True, check=False
    )
    assert done.returncode == code, done.stderr
    asked = f"getent hosts {JOB['metadata']['name']}-0.{POD['subdomain']}"
    assert (tmp_path / "log").read_text().splitlines() == [asked, asked, command]
