"""A training that is judged by held-out pairs: their loss, the best step, patience, and what survives."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from figa_core.config import HeldOutConfig
from figa_core.records import EditClass, WeighedPair
from figa_core.training.alarms import Alarm, write_alarms
from figa_core.training.checkpoints import checkpoints_dir
from figa_core.training.going_back import (
    begin_going_back,
    forget_going_back,
    goes_back,
    held_out_record,
    metrics_of_all_steps,
    must_go_back,
    steps_to_do,
)
from figa_core.training.held_out import BEFORE, HELD_OUT_LOSS, Look, looks_in
from figa_core.training.job import TrainingJob
from figa_core.training.metrics import read_metrics
from figa_core.training.selection import select_pairs
from tests.figa_core.training.jobs import MakeJob, changed
from tests.figa_core.training.one_rank import train_here
from tests.figa_core.training.oracle import answer_nlls, oracle, settings_of

QUARTER: dict[str, Any] = {"share": 0.25, "every_steps": 5}  # 6 of 24 pairs
OFF: dict[str, Any] = {"stops": ()}


def judged(make_job: MakeJob, held_out: dict[str, Any], **changes: Any) -> TrainingJob:
    return make_job(held_out=HeldOutConfig(**{**QUARTER, **held_out}), **OFF, **changes)


def seen(job: TrainingJob) -> list[Look]:
    return looks_in(read_metrics(job.metrics_path))


def apart(job: TrainingJob, pairs: list[WeighedPair]) -> list[WeighedPair]:
    chosen = select_pairs(job)
    assert chosen.apart is not None
    return [pairs[place] for place in chosen.apart]


def plain(trained: Any) -> Any:
    """The same model without the sparse head."""
    copy = type(trained)(trained.config)
    copy.load_state_dict(trained.state_dict())
    return copy


def test_no_pair_trains_and_judges(make_job: MakeJob) -> None:
    trained, held = select_pairs(judged(make_job, {}))
    assert trained is not None
    assert held is not None
    assert sorted([*trained, *held]) == list(range(24))
    assert len(held) == 6
    limited = select_pairs(judged(make_job, {}, pairs_limit=16))
    assert limited.trained is not None
    assert limited.apart is not None
    assert (len(limited.trained), len(limited.apart)) == (12, 4), "the limit counts both"
    assert select_pairs(make_job()).apart is None


def test_the_loss_is_that_of_the_objective(make_job: MakeJob, pairs: list[WeighedPair]) -> None:
    job = judged(make_job, {}, objective="sft_revised", steps=5)
    base = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32)
    before = oracle(base, apart(job, pairs), settings_of(job))
    _, engine = train_here(job)
    after = oracle(plain(engine.model), apart(job, pairs), settings_of(job))
    first, *_, last = read_metrics(job.metrics_path)
    assert first.figures[BEFORE] == pytest.approx(float(before.loss.detach()), abs=1e-5)
    assert last.figures[HELD_OUT_LOSS.name] == pytest.approx(float(after.loss.detach()), abs=1e-5)


def test_figa_is_judged_by_the_nll_of_edited_and_of_unchanged_tokens(
    make_job: MakeJob, pairs: list[WeighedPair]
) -> None:
    job = judged(make_job, {}, steps=5)
    _, engine = train_here(job)
    model, edited, unchanged = plain(engine.model), list[float](), list[float]()
    for pair in apart(job, pairs):
        nlls = answer_nlls(model, pair.prompt_ids, pair.revision_ids)
        for nll, edit in zip(nlls, pair.revision_classes, strict=True):
            (unchanged if edit == EditClass.KEPT else edited).append(float(nll.detach()))
    expected = sum(edited) / len(edited) + sum(unchanged) / len(unchanged)
    assert [look.step for look in seen(job)] == [5]
    assert seen(job)[0].loss == pytest.approx(expected, abs=1e-5)


def test_looking_changes_no_step(make_job: MakeJob, tmp_path: Path) -> None:
    often = judged(make_job, {"every_steps": 1}, steps=6, output=tmp_path / "often")
    once = judged(make_job, {"every_steps": 6}, steps=6, output=tmp_path / "once")
    models = [train_here(job)[1].model.state_dict() for job in (often, once)]
    assert [len(seen(job)) for job in (often, once)] == [6, 1]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def wild(make_job: MakeJob, held_out: dict[str, Any], **changes: Any) -> TrainingJob:
    """It learns its few pairs by heart, so others become less likely."""
    return judged(make_job, held_out, objective="sft_revised", learning_rate=1e-2, **{"steps": 30, **changes})


def test_without_a_lower_loss_the_training_ends(make_job: MakeJob) -> None:
    job = wild(make_job, {"patience": 2})
    end, _ = train_here(job)
    *_, best, second, third = seen(job)
    assert best.loss < min(second.loss, third.loss)
    assert (end.done, end.step) == (True, third.step)
    assert end.step < job.steps
    assert not must_go_back(job), "the result is the last step's model"
    record = held_out_record(job, 6)
    assert record is not None
    assert record.patience_ended
    assert (record.best_step, record.best_loss) == (best.step, best.loss)
    assert (record.pairs, record.looks) == (6, len(seen(job)))
    assert record.before == read_metrics(job.metrics_path)[0].figures[BEFORE]


@pytest.mark.parametrize("patience", [2, None])
def test_the_best_model_is_the_result(make_job: MakeJob, tmp_path: Path, patience: int | None) -> None:
    job = wild(make_job, {"patience": patience, "result": "best"}, checkpoint_steps=3)
    end, _ = train_here(job)
    all_steps, found = read_metrics(job.metrics_path), seen(job)
    best = min(found, key=lambda look: look.loss)
    assert (end.done, end.over) == (False, True)
    assert best.step < end.step
    assert must_go_back(job)
    begin_going_back(job)
    assert (goes_back(job), steps_to_do(job)) == (True, best.step)
    back, engine = train_here(job)
    assert (back.done, back.step) == (True, best.step)
    assert metrics_of_all_steps(job.output) == all_steps
    record = held_out_record(job, 6)
    assert record is not None
    assert (record.best_step, record.patience_ended) == (best.step, patience is not None)

    short = wild(make_job, {}, steps=best.step, output=tmp_path / "short")
    _, expected = train_here(short)
    weights = engine.model.state_dict()
    assert all(torch.equal(weights[name], each) for name, each in expected.model.state_dict().items())
    forget_going_back(job.output)
    assert not goes_back(job)


def test_the_way_back_needs_few_steps(make_job: MakeJob) -> None:
    """The last checkpoint before the best step is kept, however many follow."""
    job = wild(make_job, {"result": "best"}, checkpoint_steps=2)
    train_here(job)
    best = min(seen(job), key=lambda look: look.loss)
    kept = [int(path.name.removeprefix("step-")) for path in checkpoints_dir(job).iterdir()]
    assert len(kept) <= 4
    assert best.step - 2 < max(step for step in kept if step <= best.step) <= best.step
    assert best.step < job.steps - 4


def test_a_stopped_training_remembers_its_best_and_its_patience(make_job: MakeJob, tmp_path: Path) -> None:
    whole = wild(make_job, {"patience": 2}, output=tmp_path / "whole")
    end, _ = train_here(whole)
    *_, best, second, _ = seen(whole)
    stopped = changed(whole, output=tmp_path / "stopped")
    calls = iter([False] * second.step)
    train_here(stopped, stop=lambda: next(calls, True))  # after the first look without a lower loss
    assert seen(stopped)[-1] == second
    resumed, _ = train_here(stopped)
    assert resumed == dataclasses.replace(end, watched=resumed.watched)
    assert seen(stopped) == seen(whole)
    assert best.step < second.step


def test_after_an_alarm_the_best_of_the_good_steps_is_the_result(make_job: MakeJob) -> None:
    job = wild(make_job, {"result": "best", "every_steps": 1}, steps=12)
    train_here(job)
    best = min(seen(job), key=lambda look: look.loss)
    good = best.step - 1
    write_alarms(job.output, [Alarm("unchanged_nll", 12, 9.0, 0.4, 0.9, stops=True, good_step=good)])
    assert (goes_back(job), steps_to_do(job)) == (True, good), "until the best of them is settled"
    begin_going_back(job)
    expected = min((look for look in seen(job) if look.step <= good), key=lambda look: look.loss)
    assert steps_to_do(job) == expected.step
