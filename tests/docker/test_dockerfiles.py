"""The Dockerfiles: hadolint finds nothing, and what needs no build holds (`make images` builds)."""

import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
FILES = sorted(DOCKER.glob("*.Dockerfile"))


def instructions(path: Path) -> list[str]:
    """Its instructions, each in one line; comments are left out."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    return [line for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def test_there_is_one_for_the_package_and_one_for_vllm_each_with_a_check() -> None:
    assert [path.name for path in FILES] == ["main.Dockerfile", "vllm.Dockerfile"]
    for path in FILES:
        assert (DOCKER / f"check_{path.name.removesuffix('.Dockerfile')}.py").is_file()


def test_only_what_the_images_are_made_of_reaches_a_build() -> None:
    text = (ROOT / ".dockerignore").read_text("utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    wanted = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert lines[1 : len(wanted) + 1] == [f"!{each}" for each in wanted], "what follows can only take away"
    copied = {
        re.sub(r"^docker/.*\.lock\.txt$", "docker/*.lock.txt", source)
        for path in FILES
        for line in instructions(path)
        if line.startswith("COPY ") and "--from=" not in line
        for source in line.split()[1:-1]
    }
    assert set(wanted) == copied
    for each in ("**/.env*", "**/__pycache__"):
        assert each in lines[len(wanted) + 1 :], "a key, or what this machine compiled"


def test_what_the_check_starts_is_what_the_image_of_vllm_starts() -> None:
    [entry] = [line for line in instructions(DOCKER / "vllm.Dockerfile") if line.startswith("ENTRYPOINT")]
    options = json.loads(entry.removeprefix("ENTRYPOINT"))
    assert options[:3] == ["tini", "-g", "--"]
    check = runpy.run_path(str(DOCKER / "check_vllm.py"))
    assert [*check["COMMAND"], *check["MIDDLEWARE"]] == options[3:]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not installed: `make test` installs it")
    done = subprocess.run([hadolint, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_last_stage_has_a_user_a_health_check_and_no_installer(path: Path) -> None:
    stages = "\n".join(instructions(path)).split("FROM ")
    last = stages[-1]
    assert len(stages) >= 4, "the tools of the build are in a stage of their own"
    assert "USER 1000:1000" in last
    assert "HEALTHCHECK" in last
    assert "LABEL" in last
    assert "pip" not in last


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_everything_is_pinned_by_the_lock_files_and_the_base_is_an_argument(path: Path) -> None:
    text = "\n".join(instructions(path))
    assert text.startswith("ARG BASE=")
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}", "python"}
    for options in re.findall(r"pip install ([^&\n]*)", text):
        assert "lock.txt" in options or options.split()[-1] == ".", options
    for lock in re.findall(r"docker/(\S+\.lock\.txt)", text):
        assert (DOCKER / lock).is_file(), lock


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_image_has_the_version_of_the_package(path: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert re.findall(r"ARG VERSION=(\S+)", path.read_text("utf-8")) == [version]


@pytest.mark.parametrize("path", [*FILES, DOCKER / "images.sh"], ids=lambda path: path.name)
def test_no_setting_of_a_machine_is_in_a_file(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.search(r"(index-url|trusted-host|TOKEN|PASSWORD|API_KEY)\s*=", text)
    assert "://" not in re.sub(r"http://127\.0\.0\.1|file://", "", text)
