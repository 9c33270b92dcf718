"""The parameter of `train-by-rewards`, and the names of its runs."""

from pathlib import Path

import pytest

from figa_core.errors import ConfigError, TrainingError
from figa_core.rl.job import RlJob
from flows.train_by_rewards import run_name_of, train_by_rewards
from tests.figa_core.rl.jobs import rl_job


def test_a_run_says_what_tells_the_trainings_of_a_comparison_apart(tmp_path: Path) -> None:
    job = rl_job(tmp_path / "support", learning_rate=1e-5, token_budget=50_000)
    assert run_name_of(job) == "support: train GRPO from base, 50,000 tokens, rate 1e-05, seed 0"


def test_the_file_of_a_job_is_all_that_it_needs_besides_a_store(tmp_path: Path) -> None:
    assert list(train_by_rewards.parameters.properties) == ["job", "artifacts"]
    assert train_by_rewards.parameters.required == ["job"]
    job = rl_job(tmp_path)
    assert RlJob.read(job.write()) == job


@pytest.mark.parametrize(
    ("path", "error"), [("nowhere/job.json", TrainingError), ("\0", ConfigError)], ids=["missing", "no path"]
)
async def test_a_file_that_is_no_job_is_refused(path: str, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error, match="job"):
        await train_by_rewards.fn(Path(f"{tmp_path}/{path}"))
