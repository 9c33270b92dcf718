"""The reward model of the demo on a real model; `tests/figa_core/domains` tests its training."""

from pathlib import Path

import pytest

from figa_core.domains.base import load_domain
from figa_core.errors import EngineError
from figa_core.real.reward import reward_model


def test_a_domain_without_a_reward_model_is_an_error_with_the_reason_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    left = tmp_path / "reward-support-1.abcdef"  # of a killed process
    left.mkdir()
    with pytest.raises(
        EngineError, match=r"ended with code 1(.|\n)*'support' has no reward model of its own"
    ):
        reward_model(load_domain("support"), tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_trained_one_is_not_trained_again(tmp_path: Path) -> None:
    domain = load_domain("structured")
    made = tmp_path / f"reward-structured-{domain.version}"
    made.mkdir()
    lines: list[str] = []
    assert reward_model(domain, tmp_path, on_progress=lines.append) == made
    assert lines == []
