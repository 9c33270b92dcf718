"""The project's own pages name files that exist, so that a newcomer who follows them arrives."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "figa_core/README.md")
SOURCES = ("figa_core", "tasks", "flows", "deployments", "tests", "docker")
NAME = re.compile(r"`([\w./-]+(?:\.py|\.lock\.txt|\.yaml|/))`")


def names_in(text: str) -> list[str]:
    """The source files and folders that a text names, such as `tasks/train.py`, `loop.py` or `config/`.

    What is in `build/` is made by a command.
    """
    return [name for name in NAME.findall(text) if not name.startswith("build/")]


def exists(name: str) -> bool:
    """From the top, from the library, or, for a name without its folder, anywhere in the sources."""
    if "/" in name:
        return any((base / name).exists() for base in (ROOT, ROOT / "figa_core"))
    return any(True for folder in SOURCES for _ in (ROOT / folder).rglob(name))


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    names = names_in((ROOT / page).read_text(encoding="utf-8"))
    assert names, f"{page} names no file that this test would notice"
    assert [name for name in names if not exists(name)] == []


def test_every_addition_in_where_to_change_what_names_a_file_to_open() -> None:
    text = (ROOT / "figa_core/README.md").read_text(encoding="utf-8")
    [section] = re.findall(r"^## Where to change what\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    additions = re.findall(r"^- \*\*(.+?)\*\*(.*)", section, re.MULTILINE)
    assert additions
    assert [what for what, how in additions if not any(name.endswith(".py") for name in names_in(how))] == []


def test_a_file_that_is_gone_is_noticed() -> None:
    assert names_in("see `tasks/train.py`, `config/` and `docker/main.lock.txt`") == [
        "tasks/train.py",
        "config/",
        "docker/main.lock.txt",
    ]
    assert exists("tasks/train.py")
    assert exists("training/loop.py")
    assert exists("loop.py")
    assert not exists("tasks/no_such_stage.py")
    assert not exists("no_such_module.py")
