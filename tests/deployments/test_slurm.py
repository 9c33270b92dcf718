"""The Slurm script, with fakes of Slurm's commands and of `figa`."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from deployments.deploy import ROOT

SCRIPT = ROOT / "deployments" / "slurm" / "run.sbatch"

JOINS = "figa join --workspace /shared/work space --node 1"

# Runs the command of a step without its options, on "node 0 of the step".
SRUN = """#!/bin/bash
echo "srun $*" >> "$LOG"
while [[ $1 == -* ]]; do shift; done
SLURM_NODEID=0 exec "$@"
"""
SCONTROL = """#!/bin/bash
printf 'gpu1\\ngpu2\\n'
"""
# A run ends once the other node has joined, or at a signal; a node joins until a signal.
FIGA = """#!/bin/bash
trap 'echo "$1 stopped" >> "$LOG"; exit 143' TERM
echo "figa $*" >> "$LOG"
if [[ $1 == run && -z $SLOW ]]; then
    until grep -q "figa join" "$LOG" || [[ $SLURM_JOB_NUM_NODES == 1 ]]; do sleep 0.05; done
    exit 3
fi
while true; do sleep 0.05; done
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("figa", FIGA)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    return {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "LOG": str(tmp_path / "log"),
        "SLOW": "",
        "SLURM_JOB_NODELIST": "gpu[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_ON_NODE": "64",
    }


def start(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["bash", SCRIPT, "my-run.toml", "/shared/work space"], env=environment)


def log(environment: dict[str, str]) -> list[str]:
    path = Path(environment["LOG"])
    return sorted(path.read_text().splitlines()) if path.exists() else []


def test_the_first_node_runs_and_the_others_join_until_it_ends(environment: dict[str, str]) -> None:
    assert start(environment).wait(60) == 3, "the exit code of the run"
    step = "srun --ntasks-per-node=1 --cpus-per-task=64 --mem=0 --nodes=1 --ntasks=1"
    assert [line for line in log(environment) if not line.startswith("srun")] == [
        JOINS,
        "figa run --config my-run.toml",
        "join stopped",
    ]
    joins, runs = (line for line in log(environment) if line.startswith("srun"))
    assert joins.startswith(f"{step} --exclude=gpu1 bash -c")
    assert runs == f"{step} --nodelist=gpu1 figa run --config my-run.toml"


def test_one_node_needs_no_other(environment: dict[str, str]) -> None:
    assert start({**environment, "SLURM_JOB_NUM_NODES": "1"}).wait(60) == 3
    assert [line for line in log(environment) if "join" in line] == []


def test_a_signal_before_the_time_limit_reaches_the_run_which_ends_in_its_own_time(
    environment: dict[str, str],
) -> None:
    job = start({**environment, "SLOW": "1"})
    deadline = time.monotonic() + 60
    while not {"figa run --config my-run.toml", JOINS} <= set(log(environment)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 143
    assert {"run stopped", "join stopped"} <= set(log(environment))


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run(["shellcheck", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_job_without_its_arguments_says_what_is_missing(environment: dict[str, str]) -> None:
    done = subprocess.run(["bash", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "CONFIG WORKSPACE" in done.stderr
