"""Which models a study of the shift compares, and how many pairs each was trained on."""

from pathlib import Path
from typing import Any

import pytest

from figa_core.config import PipelineConfig
from figa_core.storage.runs import Findings, find_run, save_findings, save_run
from figa_core.storage.trainings import Training, save_training
from figa_core.training.checkpoints import TrainingManifest, finish
from figa_core.training.job import TrainingJob, TrainingSpec
from tasks.study_models import studied_models
from tasks.train import training_job
from tasks.workspace import Workspace

from .shard_sets import write_set
from .test_compare import config_of

RUN = "run"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """With a base model, and a shard set of ten pairs, six of them with a reference."""
    write_model(tmp_path / "base")
    write_set(tmp_path / "shards" / "set", pairs=10, pairs_per_shard=4, with_reference=6)
    workspace = Workspace(tmp_path)
    workspace.database.create()
    save_run(workspace.database, RUN, "test", {}, None)
    return workspace


def write_model(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(b"weights")


def trained(
    workspace: Workspace, objective: str, pairs_limit: int | None = None, base: str = "base", **training: Any
) -> TrainingJob:
    """A finished and recorded training."""
    config = config_of()
    spec = TrainingSpec(
        shards=workspace.shards("set"),
        model=workspace.directory / base,
        loss=config.loss.model_copy(update={"objective": objective}),
        training=config.training.model_copy(update={"learning_rate": 1e-4, **training}),
        pairs_limit=pairs_limit,
    )
    job = training_job(workspace, spec)
    write_model(job.model_dir)
    finish(job, TrainingManifest(job.training_id, job.steps, 0, 1.0, 1, {}))
    row = Training(job.training_id, RUN, objective, "set", "base", str(job.output), job.steps, 1.0)
    save_training(workspace.database, row, job.training_id)
    return job


def studied(workspace: Workspace, *own: TrainingJob, config: PipelineConfig) -> dict[str, int | None]:
    trainings = {job.objective: job.training_id for job in own}
    save_findings(workspace.database, RUN, Findings(shard_set_id="set", trainings=trainings))
    models = studied_models(workspace, find_run(workspace.database, RUN), config)
    assert all(each.model == each.output / "model" for each in models)
    return {each.label: each.pairs for each in models}


def with_baselines(*baselines: str) -> PipelineConfig:
    config = config_of()
    return config.model_copy(
        update={"evaluation": config.evaluation.model_copy(update={"baselines": baselines})}
    )


def test_a_training_on_references_had_only_the_pairs_that_have_one(workspace: Workspace) -> None:
    own = [trained(workspace, "figa"), trained(workspace, "sft"), trained(workspace, "sft_revised")]
    found = studied(workspace, *own, config=with_baselines("sft", "sft_revised"))
    assert found == {"FIGA": 10, "SFT on Y": 6, "SFT on Ỹ": 10}


def test_models_of_a_comparison_are_taken_where_they_had_equally_many_pairs(workspace: Workspace) -> None:
    own = trained(workspace, "figa")
    trained(workspace, "sft_revised", seed=3)
    trained(workspace, "sft_revised", pairs_limit=5)
    trained(workspace, "dpo")
    found = studied(workspace, own, config=with_baselines())
    assert found == {"FIGA": 10, "DPO, rate 0.0001, seed 0": 10, "SFT on Ỹ, rate 0.0001, seed 3": 10}


def test_a_model_that_was_dropped_and_one_of_another_shard_set_are_left_out(workspace: Workspace) -> None:
    own, dropped = trained(workspace, "figa"), trained(workspace, "sft_revised")
    (dropped.output / "manifest.json").unlink()
    write_set(workspace.directory / "shards" / "other", pairs=10)
    assert studied(workspace, own, config=with_baselines()) == {"FIGA": 10}


def test_a_training_that_ended_before_it_had_seen_all_pairs_had_fewer(workspace: Workspace) -> None:
    own = trained(workspace, "figa", pairs_per_step=4)
    trained(workspace, "sft_revised", pairs_per_step=4, max_steps=2)
    assert studied(workspace, own, config=with_baselines()) == {"FIGA": 10}
    short = trained(workspace, "dpo", pairs_per_step=4, max_steps=2)
    assert studied(workspace, own, short, config=with_baselines("dpo"))["DPO"] == 8


def test_a_training_of_another_model_is_left_out(workspace: Workspace) -> None:
    own = trained(workspace, "figa")
    write_model(workspace.directory / "larger")
    trained(workspace, "sft_revised", base="larger")
    assert studied(workspace, own, config=with_baselines()) == {"FIGA": 10}


def test_two_methods_of_one_label_are_told_apart(workspace: Workspace) -> None:
    own = trained(workspace, "figa")
    for share in (0.0, 0.3):
        schedule = config_of().training.schedule.model_copy(update={"warmup_share": share})
        trained(workspace, "sft_revised", schedule=schedule, max_steps=4)
    assert list(studied(workspace, own, config=with_baselines())) == [
        "FIGA", "SFT on Ỹ, rate 0.0001, seed 0", "SFT on Ỹ, rate 0.0001, seed 0 (2)",
    ]  # fmt: skip
