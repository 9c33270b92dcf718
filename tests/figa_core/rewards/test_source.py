"""The file of a reward program is found without importing anything."""

import hashlib
import sys
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest

from figa_core.errors import ConfigError
from figa_core.rewards.source import local_modules, source_hash, source_of


def test_a_modules_file_is_read_and_neither_it_nor_its_package_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "a_package_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "inner.py").write_text("raise SystemExit('imported, too')")
    assert source_of("a_package_of_a_test.inner:f") == b"raise SystemExit('imported, too')"
    assert source_of("a_package_of_a_test:f") == b"raise SystemExit('imported')"
    assert not any(name.startswith("a_package_of_a_test") for name in sys.modules)
    assert source_of("sys:getsizeof") == b""


def test_a_package_that_only_another_finder_knows_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pip leaves one that is installed to be edited."""
    package = tmp_path / "elsewhere"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "inner.py").write_text("1")

    class Editable:
        @staticmethod
        def find_spec(name: str, *_: object) -> object:
            known = name == "an_editable_package_of_a_test"
            return spec_from_file_location(name, package / "__init__.py") if known else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Editable])
    assert source_of("an_editable_package_of_a_test.inner:f") == b"1"
    assert "an_editable_package_of_a_test" not in sys.modules


@pytest.mark.parametrize("function", ["no_such_module:f", "json.no_such:f", "..:f", ":f"])
def test_a_module_that_is_not_there_is_named(function: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be found or read \(.*PYTHONPATH"):
        source_of(function)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """On the path, with a program without imports from beside it."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "rates_of_a_test.py").write_text(
        "import json\nimport yaml\nfrom figa_core.records import Score\n"
    )
    return tmp_path


def test_a_program_that_imports_nothing_from_beside_it_has_the_hash_of_its_file(folder: Path) -> None:
    own = hashlib.sha256((folder / "rates_of_a_test.py").read_bytes()).hexdigest()
    assert source_hash("rates_of_a_test:f") == own
    (folder / "other.py").write_text("1")
    assert source_hash("rates_of_a_test:f") == own
    assert source_hash("sys:getsizeof") == hashlib.sha256(b"").hexdigest()
    examples = "figa_core.rewards.examples:is_brief"  # this product is not a part of a program
    assert source_hash(examples) == hashlib.sha256(source_of(examples)).hexdigest()


@pytest.mark.parametrize(
    "statement",
    [
        "import helpers_of_a_test",
        "from helpers_of_a_test import words",
        "def f():\n    import helpers_of_a_test as h",
        "from another_of_a_test.deep import g",  # which imports it
        "from another_of_a_test import deep",
    ],
)
def test_a_change_of_a_module_that_it_imports_from_beside_it_is_a_change(
    folder: Path, statement: str
) -> None:
    program, helpers = folder / "rates_of_a_test.py", folder / "helpers_of_a_test.py"
    program.write_text(statement)
    helpers.write_text("1")
    package = folder / "another_of_a_test"
    package.mkdir()
    (package / "deep.py").write_text("import helpers_of_a_test\nimport rates_of_a_test")
    before = source_hash("rates_of_a_test:f")
    assert source_hash("rates_of_a_test:f") == before
    helpers.write_text("2")
    assert source_hash("rates_of_a_test:f") != before


def test_relative_imports_are_followed_within_a_package(folder: Path) -> None:
    package = folder / "package_of_a_test"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("from .inner import rate")
    (package / "inner" / "__init__.py").write_text("from ..words import COUNT\nfrom . import rules")
    (package / "inner" / "rules.py").write_text("not Python: it is the program's start that says so")
    (package / "words.py").write_text("COUNT = 1")
    (package / "unused.py").write_text("")
    assert set(local_modules("package_of_a_test:rate")) == {
        "package_of_a_test.inner",
        "package_of_a_test.inner.rules",
        "package_of_a_test.words",
    }
    assert set(local_modules("package_of_a_test.inner:rate")) == {
        "package_of_a_test",
        "package_of_a_test.words",
        "package_of_a_test.inner.rules",
    }


def test_of_an_installed_program_only_its_own_package_counts() -> None:
    found = local_modules("packaging.specifiers:SpecifierSet")
    assert "packaging.version" in found
    assert all(name.partition(".")[0] == "packaging" for name in found)
    assert local_modules("json:dumps").keys() <= {"json.decoder", "json.encoder", "json.scanner"}
