"""Places where a workspace cannot be created."""

from pathlib import Path

from flows.checks.workspace import check_directory, nearest_existing

from .conftest import MakeFacts


def test_a_directory_that_is_there_or_can_be_made_is_fine(facts: MakeFacts, tmp_path: Path) -> None:
    assert list(check_directory(facts(workspace={"path": "a/b/c"}))) == []
    assert list(check_directory(facts(workspace={"path": str(tmp_path)}))) == []


def test_a_file_in_the_way_is_named(facts: MakeFacts, tmp_path: Path) -> None:
    for path in ("prompts.jsonl", "prompts.jsonl/below/it"):
        [finding] = check_directory(facts(workspace={"path": path}))
        assert finding.is_problem
        assert f"{tmp_path / path} cannot be a directory: {tmp_path / 'prompts.jsonl'} is a file" in str(
            finding
        )


def test_a_place_that_permits_no_writing_is_named(facts: MakeFacts) -> None:
    [finding] = check_directory(facts(workspace={"path": "/proc/1/workspace"}))
    assert str(finding).startswith("workspace.path: /proc/1/workspace cannot be written to")


def test_the_nearest_directory_above_is_found(tmp_path: Path) -> None:
    assert nearest_existing(tmp_path / "a" / "b") == tmp_path
    assert nearest_existing(tmp_path) == tmp_path
