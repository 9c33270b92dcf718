"""A sweep tries each rate once, on pairs that do not judge it, and continues where it stopped."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from figa_core.errors import DivergedTrainingError, TrainingError
from figa_core.file_hashes import read_sealed, write_sealed
from figa_core.records import EditClass, WeighedPair
from figa_core.shards.read import iter_tables
from figa_core.training.held_out import drawn_apart
from figa_core.training.learning_rate import Trial, Yardstick
from figa_core.training.sweep import (
    Sweep,
    SweepPlan,
    mean_nll,
    read_sweep,
    run_sweep,
    trial_line,
    write_sweep,
)

from .jobs import changed, training_job

SANE, WILD = 1e-3, 1e15
FOUND = {"edited": -0.5, "unchanged": 0.1}


@pytest.fixture
def plan(tmp_path: Path, model_dir: Path, shards_dir: Path) -> SweepPlan:
    """Two rates, three steps of four pairs each, on one rank."""
    directory = tmp_path / "sweep"
    job = training_job(model_dir, shards_dir, tmp_path, processes=1)
    jobs = [
        changed(
            job,
            training_id=f"rate-{rate:g}",
            shards=directory / "train",
            output=directory / f"rate-{rate:g}",
            steps=3,
            learning_rate=rate,
        )
        for rate in (SANE, WILD)
    ]
    return SweepPlan("sweep", directory, 1000, shards_dir, jobs)


def store(plan: SweepPlan, rate: float, **fields: object) -> Path:
    """The result of one rate, as a sweep that was stopped leaves it."""
    path = plan.directory / f"rate-{rate:g}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(path, {"rate": rate, "found": FOUND, "problem": None, **fields})
    return path


def swept(plan: SweepPlan, tmp_path: Path) -> tuple[Sweep, list[int]]:
    steps: list[int] = []
    return run_sweep(plan, on_step=steps.append, log_path=tmp_path / "logs" / "sweep.log"), steps


def ids_of(shards: Path) -> set[str]:
    return {pair_id for table in iter_tables(shards) for pair_id in table.column("pair_id").to_pylist()}


def test_what_is_stored_is_not_tried_again_and_the_best_is_chosen(plan: SweepPlan, tmp_path: Path) -> None:
    store(plan, SANE)
    store(plan, WILD, found=None, problem="it diverged")
    found, steps = swept(plan, tmp_path)
    assert (found.chosen, found.held_out, found.steps) == (SANE, 4, 3)
    assert found.trials == (Trial(SANE, Yardstick(-0.5, 0.1)), Trial(WILD, None, "it diverged"))
    assert steps == [3, 6]
    assert read_sweep(plan.directory) == found
    assert not (plan.directory / "base").exists(), "nothing was left to judge"
    made_from = {"shards": str(plan.shards), "model": str(plan.jobs[0].model)}
    assert read_sealed(plan.directory / "job.json") == made_from


def test_a_finished_sweep_is_only_read(plan: SweepPlan, tmp_path: Path) -> None:
    done = Sweep("sweep", 1000, 3, 4, (Trial(SANE, Yardstick(-0.5, 0.1)),), SANE)
    write_sweep(plan.directory, done)
    assert swept(plan, tmp_path) == (done, [])
    assert {path.name for path in plan.directory.iterdir()} == {"manifest.json"}


def test_no_pair_trains_and_judges(plan: SweepPlan, tmp_path: Path, pairs: list[WeighedPair]) -> None:
    store(plan, SANE)
    store(plan, WILD)
    swept(plan, tmp_path)
    trained_on, judged_on = ids_of(plan.directory / "train"), ids_of(plan.directory / "held-out")
    assert not trained_on & judged_on
    assert (len(trained_on), len(judged_on)) == (12, 4), "three steps of four pairs, and a tenth"
    assert trained_on | judged_on <= {pair.pair_id for pair in pairs}


def test_the_pairs_that_the_training_keeps_apart_are_not_trained_on_either(
    plan: SweepPlan, tmp_path: Path, pairs: list[WeighedPair]
) -> None:
    store(plan, SANE)
    store(plan, WILD)
    swept(replace(plan, apart=14), tmp_path)
    trained_on, judged_on = ids_of(plan.directory / "train"), ids_of(plan.directory / "held-out")
    apart = drawn_apart([pair.pair_id for pair in pairs], 14)
    assert judged_on < apart
    assert trained_on == {pair.pair_id for pair in pairs} - apart


def test_if_every_rate_diverges_the_error_names_them_all(plan: SweepPlan, tmp_path: Path) -> None:
    for rate in (SANE, WILD):
        store(plan, rate, found=None, problem="the loss is nan")
    with pytest.raises(DivergedTrainingError, match=r"0\.001: the loss is nan; 1e\+15: the loss is nan. Set"):
        swept(plan, tmp_path)
    assert read_sweep(plan.directory) is None


def test_a_damaged_result_is_an_error_that_names_the_file(plan: SweepPlan) -> None:
    write_sweep(plan.directory, Sweep("sweep", 1000, 3, 4, (), SANE))
    path = plan.directory / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chosen": 1.0}))
    with pytest.raises(TrainingError, match=r"manifest\.json: damaged"):
        read_sweep(plan.directory)


def test_each_kind_of_token_has_its_own_mean() -> None:
    kinds = [EditClass.KEPT, EditClass.INSERTED, EditClass.SUBSTITUTED, EditClass.END_OF_TURN, EditClass.KEPT]
    nll = np.array([0.5, 3.0, 1.0, 2.0, 1.5], dtype=np.float32)
    assert mean_nll(nll, np.array([int(kind) for kind in kinds], dtype=np.int8)) == (2.0, 1.0)
    assert mean_nll(nll, np.full(5, int(EditClass.INSERTED), dtype=np.int8)) == (pytest.approx(1.6), 0.0)


def test_a_line_has_the_sum_and_its_parts() -> None:
    assert (
        trial_line(Trial(3e-5, Yardstick(-0.43, 0.02))) == "3e-05: -0.410 (edited -0.430, unchanged +0.020)"
    )
    assert trial_line(Trial(1e-3, None, "the loss is nan")) == "0.001: the loss is nan"


@pytest.mark.slow
@pytest.mark.distributed
def test_real_trainings_are_judged_and_one_that_diverges_is_out(plan: SweepPlan, tmp_path: Path) -> None:
    found, steps = swept(plan, tmp_path)
    sane, wild = found.trials
    assert found.chosen == SANE
    assert sane.found is not None
    assert sane.found.edited < 0, "the edited tokens were learnt"
    assert wild.found is None or wild.found.total > sane.found.total
    assert steps == sorted(steps)
    assert steps[-1] == 6
    left = {path.name for path in plan.directory.iterdir() if path.is_dir()}
    assert left == {"train", "held-out", "base"}, "no trained model is left"
