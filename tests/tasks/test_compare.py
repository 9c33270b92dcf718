"""Which trainings a comparison has, which methods cannot run, and what they cost."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from figa_core.config import MethodConfig, PipelineConfig
from figa_core.evaluation.cost import Cost
from figa_core.shards.sizes import ShardSizes, shard_sizes
from figa_core.training.alarms import KL_FROM_BASE
from figa_core.training.job import TrainingJob
from figa_core.training.metrics import StepMetrics, to_line
from tasks.compare import (
    Contender,
    Planned,
    after_steps,
    contenders,
    methods_of,
    schemes_of,
    shared_curve,
    trainings_of,
    why_unable,
)
from tasks.method_costs import pass_cost, share_of
from tasks.train import training_job
from tasks.workspace import Workspace

from .shard_sets import write_set

SIZES = ShardSizes(100, 100, {"response": 100, "revision": 100, "reference": 0}, {})


def config_of(**compare: Any) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {
            "workspace": {"path": "w"},
            "prompts": {"path": "p"},
            "generation": {"model": "base"},
            "reward": {"model": "reward"},
            "revision": {"model": "m"},
            "compare": compare,
        }
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """With a model and a shard set of ten pairs, three of them with a reference."""
    model = tmp_path / "base"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    write_set(tmp_path / "shards" / "set", pairs=10, pairs_per_shard=4, with_reference=3)
    return Workspace(tmp_path)


def found(workspace: Workspace, **compare: Any) -> list[Contender]:
    config = config_of(**compare)
    generation = config.generation.model_copy(update={"model": workspace.directory / "base"})
    config = config.model_copy(update={"generation": generation})
    directory = workspace.shards("set")
    shards = dict.fromkeys((config.weighting.scheme, *schemes_of(config)), directory)
    return contenders(workspace, config, shards, shard_sizes(directory))


def job_of(planned: Planned) -> TrainingJob:
    assert isinstance(planned.job, TrainingJob)
    return planned.job


def test_every_method_is_trained_with_its_rates_and_seeds_at_every_number_of_pairs(
    workspace: Workspace,
) -> None:
    own = {"objective": "sft_revised", "learning_rates": [1e-3]}
    rows = found(
        workspace, methods=["figa", own], learning_rates=[1e-5, 1e-4], seeds=[0, 7], pairs=[4, "all"]
    )
    assert [(row.method.name, row.pairs, len(row.trainings)) for row in rows] == [
        ("FIGA", 4, 4),
        ("SFT on Ỹ", 4, 2),
        ("FIGA", 10, 4),
        ("SFT on Ỹ", 10, 2),
    ]
    first = rows[0].trainings[1]
    assert (first.learning_rate, first.seed) == (1e-5, 7)
    job = job_of(first)
    assert (job.training.learning_rate, job.training.seed) == (1e-5, 7)
    assert job.pairs_limit == 4
    trainings = [each.job.training_id for row in rows for each in row.trainings]
    assert len(set(trainings)) == len(trainings)


def test_the_trainings_of_a_curve_are_those_of_the_chosen_rate_cut_off_and_ended_by_nothing(
    workspace: Workspace,
) -> None:
    """Ten pairs in three epochs of steps of 128: three steps."""
    settings = {"seeds": [0, 1], "learning_rates": [1e-5, 1e-4], "curve_steps": [2, 1, 3, 99]}
    config = config_of(**settings)
    [row] = found(workspace, methods=["figa"], **settings)
    curve = after_steps(workspace, config, row, 1e-4)
    assert [(steps, each.method.name) for steps, each in curve] == [
        (1, "FIGA after 1 step"),
        (2, "FIGA after 2 steps"),
    ]
    for steps, each in curve:
        jobs = [job_of(planned) for planned in each.trainings]
        assert [(job.steps, job.training.seed, job.learning_rate) for job in jobs] == [
            (steps, 0, 1e-4),
            (steps, 1, 1e-4),
        ]
        assert {(job.alarms.stops, job.training.held_out.patience) for job in jobs} == {((), None)}
    ids = {planned.job.training_id for _, each in curve for planned in each.trainings}
    assert len(ids - {planned.job.training_id for planned in row.trainings}) == 4


def test_a_curve_has_the_step_size_that_the_whole_training_chose(workspace: Workspace) -> None:
    compare = {"methods": ["figa"], "seeds": [0], "learning_rates": [1e-5], "curve_steps": [2]}
    [row] = found(workspace, **compare)
    whole = row.trainings[0]
    assert whole.spec is not None
    automatic = whole.spec.training.model_copy(update={"pairs_per_step": "auto", "epochs": "auto"})
    spec = whole.spec.model_copy(update={"training": automatic})
    whole = replace(whole, spec=spec, job=training_job(workspace, spec))
    row = replace(row, trainings=(whole,))
    [(_, cut_off)] = after_steps(workspace, config_of(**compare), row, 1e-5)
    assert job_of(cut_off.trainings[0]).pairs_per_step == job_of(whole).pairs_per_step == 1


def step(number: int, kl: float) -> str:
    figures = {KL_FROM_BASE.name: kl}
    return to_line(StepMetrics(number, 0.5, 8, 100, 4, 1.0, 1e-5, 1.0, figures=figures))


def test_a_training_that_an_alarm_ended_shows_the_steps_after_its_result_too(workspace: Workspace) -> None:
    [row] = found(workspace, methods=["figa"], learning_rates=[1e-5], seeds=[0])
    planned = row.trainings[0]
    planned.job.output.mkdir(parents=True)
    planned.job.metrics_path.write_text(step(1, 0.1))
    (planned.job.output / "metrics-of-all-steps.jsonl").write_text(step(1, 0.1) + step(2, 0.9))
    curve = shared_curve(planned, "FIGA")
    assert (curve.label, curve.steps) == ("FIGA", (1, 2))
    assert curve.series[KL_FROM_BASE.title] == (0.1, 0.9)


def test_with_sweep_seeds_the_other_seeds_are_trained_at_the_chosen_rate_only(workspace: Workspace) -> None:
    settings: dict[str, Any] = {"learning_rates": [1e-5, 1e-4, 1e-3], "seeds": [5, 6, 7], "sweep_seeds": 1}
    config = config_of(methods=["figa"], **settings).compare
    [row] = found(workspace, methods=["figa"], **settings)
    sweep = row.sweep(config).trainings
    assert [(each.learning_rate, each.seed) for each in sweep] == [(1e-5, 5), (1e-4, 5), (1e-3, 5)]
    others = row.after_sweep(config, 1e-4).trainings
    assert [(each.learning_rate, each.seed) for each in others] == [(1e-4, 6), (1e-4, 7)]
    assert not row.after_sweep(config, None).trainings
    assert trainings_of(row, config) == 5


def test_without_sweep_seeds_every_rate_is_tried_with_every_seed(workspace: Workspace) -> None:
    settings: dict[str, Any] = {"learning_rates": [1e-5, 1e-4], "seeds": [5, 6, 7]}
    config = config_of(methods=["figa"], **settings).compare
    [row] = found(workspace, methods=["figa"], **settings)
    assert row.sweep(config) == row
    assert not row.after_sweep(config, 1e-4).trainings
    assert trainings_of(row, config) == 6
    assert trainings_of(replace(row, trainings=(), unable="no references"), config) == 0


def test_training_on_as_many_pairs_as_there_are_is_training_on_all(workspace: Workspace) -> None:
    [ten] = found(workspace, methods=["figa"], pairs=[10], seeds=[0], learning_rates=[1e-5])
    [everything] = found(workspace, methods=["figa"], pairs=["all"], seeds=[0], learning_rates=[1e-5])
    assert ten.trainings[0].job == everything.trainings[0].job
    assert job_of(ten.trainings[0]).pairs_limit is None
    assert len(found(workspace, methods=["figa"], pairs=[10, "all"])) == 1


def test_a_method_overrides_settings_of_the_loss_and_nothing_else(workspace: Workspace) -> None:
    [row] = found(workspace, methods=[{"objective": "figa", "beta": 0.25, "label": "mine"}])
    assert row.method.name == "mine"
    loss = job_of(row.trainings[0]).loss
    assert (loss.beta, loss.alpha) == (0.25, config_of().loss.alpha)


def test_more_pairs_than_there_are_and_missing_references_are_reasons(workspace: Workspace) -> None:
    rows = found(workspace, methods=["figa"], pairs=[11])
    assert (rows[0].unable, rows[0].trainings) == ("there are only 10 pairs", ())
    config = config_of()
    assert (
        why_unable(MethodConfig(objective="sft"), config, 100, SIZES)
        == "none of the 100 pairs has a reference"
    )
    nothing = MethodConfig.model_validate({"objective": "figa", "alpha": 0, "beta": 0, "gamma": 0})
    assert "no token has a weight" in why_unable(nothing, config, 100, SIZES)
    assert why_unable(MethodConfig(objective="figa"), config, 100, SIZES) == ""


def test_without_a_list_every_objective_is_compared_the_runs_own_first() -> None:
    config = config_of()
    config = config.model_copy(update={"loss": config.loss.model_copy(update={"objective": "sft"})})
    names = [method.objective for method in methods_of(config)]
    assert names[0] == "sft"
    assert "figa" in names
    assert len(set(names)) == len(names)


def test_only_other_schemes_need_shards_of_their_own() -> None:
    methods = [{"objective": "figa"}, {"objective": "figa", "scheme": "bag_of_words"}]
    assert schemes_of(config_of(methods=methods)) == ("bag_of_words",)


def test_data_costs_its_share_and_nothing_for_a_method_that_reads_references_only() -> None:
    cost, config = Cost(1000, 1e9, usd=4.0), config_of()
    assert share_of(cost, MethodConfig(objective="figa"), config, 0.25) == Cost(250, 2.5e8, usd=1.0)
    assert share_of(cost, MethodConfig(objective="sft"), config, 0.25) == Cost()


def test_sizes_count_prompts_and_answers(workspace: Workspace) -> None:
    sizes = shard_sizes(workspace.shards("set"))
    assert (sizes.pairs, sizes.prompt_tokens) == (10, 10)
    assert dict(sizes.answered) == {"response": 10, "revision": 10, "reference": 3}
    assert dict(sizes.tokens) == {"response": 20, "revision": 20, "reference": 9}


@pytest.mark.parametrize(
    ("method", "tokens"),
    [
        (MethodConfig(objective="figa"), 0),
        (MethodConfig(objective="figa", kl_weight=0.1), 30),
        (MethodConfig(objective="dpo"), 50),
    ],
    ids=["figa", "held to the base model", "dpo"],
)
def test_a_pass_of_the_base_model_costs_the_answers_that_are_read(
    method: MethodConfig, tokens: int, tmp_path: Path
) -> None:
    save_file({"weight": np.zeros((5, 2), dtype=np.float32)}, tmp_path / "model.safetensors")
    config = config_of()
    generation = config.generation.model_copy(update={"model": tmp_path})
    sizes = ShardSizes(1, 10, {}, {"response": 20, "revision": 30, "reference": 40})
    cost = pass_cost(method, config.model_copy(update={"generation": generation}), sizes)
    assert cost == Cost(tokens=tokens, flops=2 * 10 * tokens)
