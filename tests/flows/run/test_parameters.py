"""Paths that people type into a form."""

from pathlib import Path

import pytest

from figa_core.errors import ConfigError
from flows.run.parameters import absolute


def test_a_relative_path_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("shards", Path("a/b")) == tmp_path / "a" / "b"
    assert absolute("shards", Path("~/a")) == Path.home() / "a"


@pytest.mark.parametrize("path", ["~no-such-user-at-all/x", "a" * 300, "a\0b", "loop"])
def test_an_invalid_path_is_refused_with_its_parameters_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    with pytest.raises(ConfigError, match=r"^shards: ") as caught:
        absolute("shards", Path(path))
    assert len(str(caught.value)) < 300
