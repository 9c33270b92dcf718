"""Paths at which a workspace cannot be created."""

from pathlib import Path

from flows.checks.workspace import check_directory, nearest_existing

from .conftest import MakeFacts


def test_a_directory_that_exists_or_can_be_created_is_fine(facts: MakeFacts, tmp_path: Path) -> None:
    assert list(check_directory(facts(workspace={"path": "a/b/c"}))) == []
    assert list(check_directory(facts(workspace={"path": str(tmp_path)}))) == []


def test_a_file_in_the_way_is_named(facts: MakeFacts, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    for path in (file, file / "below"):
        [finding] = check_directory(facts(workspace={"path": str(path)}))
        assert finding.is_problem
        assert f"{path} cannot be a directory: {file} is a file" in str(finding)


def test_a_directory_without_write_permission_is_named(facts: MakeFacts) -> None:
    [finding] = check_directory(facts(workspace={"path": "/proc/1/workspace"}))
    assert str(finding).startswith(
        "workspace.path: /proc/1/workspace cannot be written to: no permission to write to /proc/1."
    )


def test_the_nearest_directory_above_is_found(tmp_path: Path) -> None:
    assert nearest_existing(tmp_path / "a" / "b") == tmp_path
    assert nearest_existing(tmp_path) == tmp_path
