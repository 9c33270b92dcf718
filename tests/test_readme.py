"""The files, links, make targets and commands that the project's pages name exist."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "figa_core/README.md")
SOURCES = ("figa_core", "tasks", "flows", "deployments", "tests", "docker")
NAME = re.compile(r"`([\w./-]+(?:\.py|\.lock\.txt|\.yaml|\.toml|/))`")


def names_in(text: str) -> list[str]:
    """The source files and folders that a text names, such as `tasks/train.py`, `loop.py` or `config/`."""
    return [name for name in NAME.findall(text) if not name.startswith("build/")]


def exists(name: str) -> bool:
    """In the root, in the library, or, for a name without a folder, anywhere in the sources."""
    if "/" in name:
        return any((base / name).exists() for base in (ROOT, ROOT / "figa_core"))
    return any(True for folder in SOURCES for _ in (ROOT / folder).rglob(name))


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    names = names_in((ROOT / page).read_text(encoding="utf-8"))
    assert names, f"{page} names no file that this test would notice"
    assert [name for name in names if not exists(name)] == []


def test_the_readme_names_only_targets_and_links_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z0-9-]+)", readme)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for linked in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / linked).exists(), linked


def test_every_figa_command_in_the_readme_parses() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    expected = {"demo", "run", "status", "report", "doctor", "backup", "restore", "clean"}
    commands = set(re.findall(rf"figa ({'|'.join(expected)})\b([^\n`]*)", readme))
    assert {name for name, _ in commands} == expected
    for name, arguments in commands:
        options = set(re.findall(r"--[a-z]+", arguments))
        help_text = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).stdout
        assert all(option in help_text for option in options), (name, options)


def test_every_addition_in_where_to_change_what_names_a_file_to_open() -> None:
    text = (ROOT / "figa_core/README.md").read_text(encoding="utf-8")
    [section] = re.findall(r"^## Where to change what\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    additions = re.findall(r"^- \*\*(.+?)\*\*(.*)", section, re.MULTILINE)
    assert additions
    assert [what for what, how in additions if not any(name.endswith(".py") for name in names_in(how))] == []


def test_a_missing_file_is_noticed() -> None:
    assert names_in("see `tasks/train.py`, `config/`, `docker/main.lock.txt` and `presets/demo.toml`") == [
        "tasks/train.py",
        "config/",
        "docker/main.lock.txt",
        "presets/demo.toml",
    ]
    assert exists("tasks/train.py")
    assert exists("training/loop.py")
    assert exists("loop.py")
    assert not exists("tasks/no_such_stage.py")
    assert not exists("no_such_module.py")
