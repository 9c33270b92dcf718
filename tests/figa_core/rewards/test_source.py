"""The file of a reward program is found without importing anything."""

import sys
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest

from figa_core.errors import ConfigError
from figa_core.rewards.source import source_of


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
