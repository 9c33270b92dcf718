"""Damage to a model is noticed while it trains, each kind by making it happen."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from figa_core.records import EditClass
from figa_core.training.alarms import PROBE_FIGURES, read_alarms
from figa_core.training.checkpoints import checkpoints_dir, tag_of
from figa_core.training.data import PairData
from figa_core.training.job import TrainingJob
from figa_core.training.loop import TrainingEnd
from figa_core.training.metrics import read_metrics
from figa_core.training.model import load_model
from figa_core.training.objectives import registry
from figa_core.training.objectives.base import Answer, ClassTables, Objective, Predictions, Terms
from figa_core.training.objectives.registry import make_objective
from figa_core.training.probe import Probe
from tests.figa_core.training.jobs import MakeJob, changed, training_job
from tests.figa_core.training.one_rank import OneRank, train_here

NAMES = [figure.name for figure in PROBE_FIGURES]


def values(job: TrainingJob) -> dict[int, tuple[float | None, ...]]:
    """NLL, KL and end-of-turn probability by the step after which the model was examined."""
    metrics = [m for m in read_metrics(job.metrics_path) if NAMES[0] in m.figures]
    return {m.step: tuple(m.figures[name] for name in NAMES) for m in metrics}


def alarms(end: TrainingEnd) -> list[str]:
    return [alarm.name for alarm in end.alarms]


class NeverEnds(Objective):
    """Lowers the probability of the end-of-turn, and holds all other tokens of Ỹ."""

    name, label, answers = "never_ends", "Never ends", ("revision",)

    def class_tables(self, answer: Answer, /) -> ClassTables:
        tables = super().class_tables(answer)
        tables.weights[EditClass.END_OF_TURN] = -1
        return tables

    def terms(self, predictions: Predictions) -> Terms:
        weights_K, nll_K = predictions.weights_K, predictions.nll_K
        held = torch.where(weights_K > 0, nll_K, -nll_K.clamp(max=12))
        return Terms(held.sum(), {})


@contextmanager
def registered(*objectives: type[Objective]) -> Iterator[None]:
    before = dict(registry._objectives)
    for objective in objectives:
        registry.register_objective(objective)
    try:
        yield
    finally:
        registry._objectives.clear()
        registry._objectives.update(before)


@pytest.fixture(scope="module")
def able_model(tmp_path_factory: pytest.TempPathFactory, model_dir: Path, shards_dir: Path) -> Path:
    """A base model that knows the revisions: their tokens, and where they end."""
    directory = tmp_path_factory.mktemp("able")
    job = training_job(model_dir, shards_dir, directory / "training", processes=1)
    job = changed(job, objective="sft_revised", learning_rate=1e-2, stops=())
    _, engine = train_here(job)
    engine.model.save_pretrained(directory / "model")
    return directory / "model"


def test_a_healthy_training_raises_no_alarm_and_records_what_was_seen(make_job: MakeJob) -> None:
    job = make_job(gamma=0.3)
    end, _ = train_here(job)
    assert end.done
    assert end.alarms == read_alarms(job.output) == ()
    assert end.watched is not None
    assert list(values(job)) == [step for step in range(1, 61) if step % end.watched.every == 0 or step == 60]
    assert len(values(job)) >= 8
    nll, kl, end_of_turn = values(job)[60]
    base = end.watched.base
    assert nll is not None
    assert kl is not None
    assert end_of_turn is not None
    assert base.nll_unchanged is not None
    assert base.end_of_turn_probability is not None
    assert base.kl_from_base == 0
    assert nll < base.nll_unchanged, "they are trained"
    assert kl > 0
    assert end_of_turn > base.end_of_turn_probability


def test_unchanged_tokens_that_nothing_holds_drift_away_and_raise_the_alarm(
    make_job: MakeJob, able_model: Path
) -> None:
    job = make_job(model=able_model, gamma=0.0, learning_rate=1e-2, kl_from_base_excess=None)
    end, _ = train_here(job)
    assert not end.done
    [alarm] = end.alarms
    assert alarm.name == "unchanged_nll"
    assert alarm.value is not None
    assert alarm.value > alarm.limit == pytest.approx(alarm.base + 0.5)
    assert end.step == alarm.step, "it ends there"
    assert read_alarms(job.output) == end.alarms


def test_a_model_that_prefers_what_its_base_rules_out_raises_the_alarm(
    make_job: MakeJob, able_model: Path
) -> None:
    job = make_job(model=able_model, gamma=0.0, learning_rate=1e-2, unchanged_nll_rise=None)
    end, _ = train_here(job)
    assert not end.done
    assert "kl_from_base" in alarms(end)
    assert all(alarm.step == end.step for alarm in end.alarms)


def test_an_end_of_turn_that_collapses_raises_the_alarm(make_job: MakeJob, able_model: Path) -> None:
    with registered(NeverEnds):
        job = make_job(model=able_model, objective="never_ends")
        end, _ = train_here(job)
    [alarm] = end.alarms
    assert alarm.name == "end_of_turn", "the other tokens are held"
    assert alarm.base > 0.5
    assert alarm.value is not None
    assert alarm.value < alarm.limit == pytest.approx(alarm.base / 2)


def test_an_alarm_that_may_not_end_the_training_is_raised_once(
    make_job: MakeJob, capfd: pytest.CaptureFixture[str]
) -> None:
    job = make_job(gamma=0.0, learning_rate=2e-2, stops=())
    end, _ = train_here(job)
    assert end.done
    assert end.step == job.steps
    assert "unchanged_nll" in alarms(end)
    assert len(set(alarms(end))) == len(end.alarms)
    assert capfd.readouterr().out.count("the NLL of unchanged tokens is") == 1


def test_after_an_alarm_the_steps_up_to_the_last_good_one_are_repeated(make_job: MakeJob) -> None:
    bad = make_job(gamma=0.0, learning_rate=2e-2, checkpoint_steps=7)
    until, _ = train_here(bad)
    [alarm, *_] = until.alarms
    assert 0 < alarm.good_step < alarm.step
    before = read_metrics(bad.metrics_path)
    end, engine = train_here(bad)
    assert end.done
    assert end.step == alarm.good_step
    assert end.alarms == until.alarms
    shorter = changed(bad, steps=alarm.good_step, output=bad.output / "shorter", stops=())
    _, other = train_here(shorter)
    expected = other.model.state_dict()
    for name, value in engine.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert [m.loss for m in read_metrics(bad.metrics_path)] == [m.loss for m in before[: alarm.good_step]]


def test_the_checkpoint_before_the_last_good_step_is_kept_until_there_is_a_later_one(
    make_job: MakeJob,
) -> None:
    """The model is examined every six steps; a checkpoint every two."""
    job = make_job(checkpoint_steps=2)
    asked = (number == 17 for number in count())
    end, _ = train_here(job, stop=lambda: next(asked))
    assert not end.done
    assert end.step == 17
    kept = sorted(path.name for path in checkpoints_dir(job).iterdir())
    assert kept == [tag_of(step) for step in (12, 16, 17)]


def test_a_resumed_training_compares_with_the_same_base_model(make_job: MakeJob) -> None:
    whole = make_job()
    undisturbed, _ = train_here(whole)
    job = changed(whole, output=whole.output / "resumed")
    asked = (number == 25 for number in count())
    stopped, _ = train_here(job, stop=lambda: next(asked))
    assert stopped.step == 25
    resumed, _ = train_here(job)
    assert resumed.watched is not None
    assert undisturbed.watched is not None
    assert resumed.watched.base == undisturbed.watched.base
    assert values(job) == values(whole)


@pytest.mark.parametrize("changes", [{}, {"objective": "sft"}])
def test_the_ranks_shares_add_up_to_what_one_rank_sees(make_job: MakeJob, changes: dict[str, Any]) -> None:
    """Also with more ranks than pairs, and with NLL and KL computed token by token."""
    job = make_job(**changes)
    data, objective = PairData(job.shards), make_objective(job.loss)
    alone = Probe(job, OneRank(job), data, objective)
    for ranks in (2, 5):
        sums = [Share(job, rank, ranks) for rank in range(ranks)]
        for share in sums:
            Probe(job, share, data, objective)
        kept, nll, kl, ends, end_p = (sum(each) for each in zip(*(s.own for s in sums), strict=True))
        assert nll / kept == pytest.approx(alone.base.nll_unchanged, rel=1e-5)
        assert kl == 0
        if changes:
            assert ends == 0, "classes of the reference are unknown"
        else:
            assert end_p / ends == pytest.approx(alone.base.end_of_turn_probability, rel=1e-5)


class Share(OneRank):
    """One of several ranks, whose own sums are kept."""

    def __init__(self, job: TrainingJob, rank: int, ranks: int) -> None:
        super().__init__(job)
        self.rank, self.ranks = rank, ranks
        self.own: list[float] = []

    def total(self, *values: float) -> list[float]:
        self.own = list(values)
        return self.own


def test_values_are_those_of_the_formula(make_job: MakeJob) -> None:
    job = make_job()
    data, engine = PairData(job.shards), OneRank(job)
    probe = Probe(job, engine, data, make_objective(job.loss))
    assert probe.plan is not None
    base, changed_model = load_model(job.model), load_model(job.model)
    with torch.no_grad():
        for parameter in engine.model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    changed_model.load_state_dict(engine.model.state_dict())
    nll, kl, ends = list[float](), list[float](), list[float]()
    for pair in probe.plan.pairs:
        answer = data.whole_answer(pair, "revision")
        ids = torch.tensor([[*answer.inputs_T.tolist(), int(answer.targets_K[-1])]])
        with torch.no_grad():
            ours, theirs = (model(ids).logits.log_softmax(-1)[0] for model in (changed_model, base))
        classes = data.answer_classes(pair, "revision")
        for place, edit in enumerate(classes):
            at = int(answer.columns_K[0]) + place
            if edit == EditClass.KEPT:
                nll.append(-float(ours[at, ids[0, at + 1]]))
                kl.append(float((ours[at].exp() * (ours[at] - theirs[at])).sum()))
            elif edit == EditClass.END_OF_TURN:
                ends.append(float(ours[at, ids[0, at + 1]].exp()))
    found = probe.values()
    assert found.nll_unchanged == pytest.approx(sum(nll) / len(nll), rel=1e-5)
    assert found.kl_from_base == pytest.approx(sum(kl) / len(kl), rel=1e-4)
    assert found.end_of_turn_probability == pytest.approx(sum(ends) / len(ends), rel=1e-5)
