"""The package as a wheel: it holds every file that the code reads, and works where no sources are."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from figa_core.processes.children import child_environment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PACKAGES = ("figa_core", "tasks", "flows", "deployments")
FOR_READERS = (".md", ".png")
"""Files in the packages that only people read."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, because setuptools writes into their directory."""
    sources, target = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target), str(sources))
    [found] = target.glob("figa-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    _pip("install", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    return target


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _run(installed: Path, *command: str) -> str:
    """Its output, in an empty directory with the installed package before everything else."""
    elsewhere = installed.with_name("elsewhere")
    elsewhere.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=elsewhere,
        env=child_environment(PYTHONPATH=str(installed), COLUMNS="200"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_holds_every_file_of_the_packages_that_a_program_reads(wheel: Path) -> None:
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in FOR_READERS
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == wanted


def test_its_command_works_where_no_sources_are(installed: Path) -> None:
    script = str(installed / "bin" / "figa")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert _run(installed, script, "--version") == f"figa {version}\n"
    assert "built-in sandbox" in _run(installed, script, "demo", "--help")
    where = _run(
        installed, "-c", "import flows.cli, figa_core; print(flows.cli.__file__, figa_core.__file__)"
    )
    assert all(path.startswith(str(installed)) for path in where.split())


def test_presets_templates_and_deployments_are_read_from_it(installed: Path) -> None:
    code = """
from pathlib import Path
import yaml
from deployments.deploy import FILE, ROOT, _schema
from figa_core.config.file import load_config
from figa_core.revision.prompt import load_templates
from figa_core.grading.prompt import load_template
presets = sorted(FILE.parent.glob("presets/*.toml"))
for preset in presets:
    load_config(preset)
load_templates(None, None), load_template("llm_graded", None)
deployments = yaml.safe_load(FILE.read_text())["deployments"]
for each in deployments:
    assert (ROOT / each["entrypoint"].partition(":")[0]).is_file(), each
    assert _schema(each["entrypoint"])["properties"]
print(len(presets), len(deployments), ROOT)
"""
    presets, deployments, root = _run(installed, "-c", code).split()
    assert int(presets) == len(list((ROOT / "deployments/presets").glob("*.toml")))
    assert int(deployments) >= 7
    assert Path(root).samefile(installed)
