"""A rate that is left to a sweep becomes a number before the training has an id."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from figa_core.config import HeldOutConfig, LossConfig, TrainingConfig
from figa_core.errors import TrainingError
from figa_core.training.job import TrainingSpec
from figa_core.training.learning_rate import PAIRS_LEAST, Trial, Yardstick
from figa_core.training.sweep import Sweep, write_sweep
from tasks.sweep import NAME, about_rate, note_sweep, parameters_of, plan_sweep, settled, sweep_of, with_rate
from tasks.train import training_job
from tasks.workspace import Workspace
from tests.tasks.shard_sets import write_set

PROPOSED = 1e-3  # the most, for a model of so few parameters


def spec_of(directory: Path, *, pairs: int = 100, **settings: object) -> TrainingSpec:
    shards, model = directory / "shards" / "set", directory / "base"
    write_set(shards, pairs=pairs, pairs_per_shard=40)
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text("{}")
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(5)}, model / "model.safetensors")
    training = TrainingConfig.model_validate({"learning_rate": "auto", "pairs_per_step": 8, **settings})
    return TrainingSpec(shards=shards, model=model, loss=LossConfig(), training=training)


def store_sweep(workspace: Workspace, spec: TrainingSpec, chosen: float) -> Sweep:
    plan = plan_sweep(workspace, spec)
    trials = tuple(Trial(job.learning_rate, Yardstick(-0.1, 0.0)) for job in plan.jobs)
    done = Sweep(plan.sweep_id, plan.parameters, plan.steps, 10, trials, chosen)
    write_sweep(plan.directory, done)
    return done


def test_a_number_needs_no_sweep(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, learning_rate=1e-5)
    assert settled(Workspace(tmp_path), spec) == spec
    assert about_rate(Workspace(tmp_path), spec) is None


def test_a_sweep_tries_three_rates_around_the_proposal_for_a_tenth_of_the_steps(tmp_path: Path) -> None:
    workspace, spec = Workspace(tmp_path), spec_of(tmp_path, epochs=10)
    assert settled(workspace, spec) is None, "it is not done yet"
    plan = plan_sweep(workspace, spec)
    assert plan.parameters == 17
    assert [job.learning_rate for job in plan.jobs] == [3.3e-4, PROPOSED, 3e-3]
    assert {job.steps for job in plan.jobs} == {13}, "of 130"
    assert {job.pairs_per_step for job in plan.jobs} == {8}
    assert len({job.output for job in plan.jobs}) == 3
    assert all(job.output.is_relative_to(plan.directory) for job in plan.jobs)


def test_pairs_that_judge_the_training_are_kept_apart_from_the_sweep_too(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, held_out={"share": 0.25, "result": "best"}, schedule={"kind": "linear"})
    plan = plan_sweep(Workspace(tmp_path), spec)
    assert plan.apart == 25
    for job in plan.jobs:
        assert job.training.held_out == HeldOutConfig(), "the sweep's own pairs judge it"
        assert job.learning_rate_at(job.steps) < job.learning_rate, "it has the whole schedule"


def test_the_chosen_rate_gives_the_training_of_that_number(tmp_path: Path) -> None:
    workspace, spec = Workspace(tmp_path), spec_of(tmp_path)
    store_sweep(workspace, spec, 3.3e-4)
    found = settled(workspace, spec)
    assert found is not None
    assert found == with_rate(spec, 3.3e-4)
    assert training_job(workspace, found) == training_job(workspace, spec_of(tmp_path, learning_rate=3.3e-4))
    line = about_rate(workspace, spec)
    assert line is not None
    assert line.startswith(
        "learning rate 0.00033, the best of 0.00033: -0.100 (edited -0.100, unchanged +0.000)"
    )


def test_what_changes_only_speed_or_length_of_epochs_does_not_change_the_sweep(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    here = plan_sweep(workspace, spec_of(tmp_path)).sweep_id
    assert plan_sweep(workspace, spec_of(tmp_path, processes=2, zero_stage=3)).sweep_id == here
    assert plan_sweep(workspace, spec_of(tmp_path, seed=1)).sweep_id != here
    assert plan_sweep(workspace, spec_of(tmp_path, dtype="float32")).sweep_id != here


def test_with_too_few_pairs_the_proposal_is_taken_and_the_line_says_so(tmp_path: Path) -> None:
    workspace, spec = Workspace(tmp_path), spec_of(tmp_path, pairs=PAIRS_LEAST - 1)
    assert settled(workspace, spec) == with_rate(spec, PROPOSED)
    line = about_rate(workspace, spec)
    assert line is not None
    assert "fewer than 20 pairs are too few to try others" in line
    assert settled(Workspace(tmp_path / "b"), spec_of(tmp_path / "b", pairs=PAIRS_LEAST)) is None


def test_the_sweep_is_noted_beside_its_training(tmp_path: Path) -> None:
    workspace, spec = Workspace(tmp_path), spec_of(tmp_path)
    done = store_sweep(workspace, spec, PROPOSED)
    job = training_job(workspace, with_rate(spec, PROPOSED))
    note_sweep(workspace, with_rate(spec, PROPOSED), job)
    assert sweep_of(job.output) is None, "nobody asked for a sweep"
    note_sweep(workspace, spec, job)
    assert sweep_of(job.output) == done
    assert (job.output / NAME).is_file()


def test_a_job_without_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="learning_rate must be a number in a job"):
        training_job(Workspace(tmp_path), spec_of(tmp_path))


def test_a_model_without_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="empty"):
        parameters_of(tmp_path / "empty")


@pytest.mark.parametrize("rate", ["some", 0, -1e-5, "nan"])
def test_a_rate_is_a_positive_number_or_auto(rate: object) -> None:
    with pytest.raises(ValueError, match="learning_rate"):
        TrainingConfig.model_validate({"learning_rate": rate})
