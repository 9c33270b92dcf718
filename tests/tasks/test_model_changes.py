"""The report shows which models are the same, and how little a training changed."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from figa_core import ids
from figa_core.config import LossConfig, PipelineConfig, TrainingConfig
from figa_core.records import FinishReason, Message, Prompt, Response, Split
from figa_core.report.data import ModelChange
from figa_core.storage.evaluations import Evaluation, evaluations_of, save_evaluation
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import save_responses
from figa_core.storage.runs import Findings, find_run, save_findings, save_run
from figa_core.training.change import rounding_change, weight_change
from figa_core.training.checkpoints import MODEL_NAME, TrainingManifest, checkpoints_dir, finish
from figa_core.training.job import TrainingJob
from figa_core.training.objectives.registry import label_of
from tasks.model_changes import ModelChanges
from tasks.workspace import Workspace

RUN = "run"
FIGA, SFT = "figa", "sft_revised"
BASE_WEIGHTS = {"a": torch.arange(1.0, 9.0) / 7, "b": torch.tensor([2.0])}


def write_model(directory: Path, weights: Mapping[str, torch.Tensor]) -> Path:
    directory.mkdir(parents=True)
    save_file(dict(weights), directory / "model.safetensors")
    dtype = str(next(iter(weights.values())).dtype).removeprefix("torch.")
    (directory / "config.json").write_text(f'{{"dtype": "{dtype}"}}')
    return directory


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_model(tmp_path / "base", BASE_WEIGHTS)


@pytest.fixture
def config(base: Path, tmp_path: Path) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {
            "workspace": {"path": tmp_path / "w"},
            "prompts": {"path": tmp_path / "prompts.jsonl"},
            "generation": {"model": base},
            "reward": {"model": base},
            "revision": {"model": "reviser"},
            "evaluation": {"baselines": [SFT]},
        }
    )


@pytest.fixture
def workspace(config: PipelineConfig) -> Workspace:
    """Four held-out prompts; the base answers each."""
    workspace = Workspace(config.workspace.path)
    workspace.database.create()
    save_run(workspace.database, RUN, "test", config.model_dump(mode="json"), None)
    for index, split in enumerate([Split.HELD_OUT] * 4 + [Split.TRAIN]):
        messages = (Message("user", f"question {index}"),)
        save_prompts(workspace.database, RUN, [Prompt(ids.prompt_id(messages), messages, split)])
    judged(workspace, "base", [f"answer {i}" for i in range(5)])
    return workspace


def judged(workspace: Workspace, label: str, texts: list[str]) -> None:
    generator = f"generator of {label}"
    with workspace.database.transaction() as connection:
        rows = connection.execute("SELECT prompt_id FROM prompts ORDER BY messages").fetchall()
    save_responses(
        workspace.database,
        generator,
        [
            Response(f"{label}-{i}", prompt, 0, text, (1,), FinishReason.STOP)
            for i, ((prompt,), text) in enumerate(zip(rows, texts, strict=False))
        ],
    )
    save_evaluation(workspace.database, Evaluation(RUN, label, "reward", generator, "scorer", 4, 1.0, 0.1))


def trained(
    workspace: Workspace,
    base: Path,
    objective: str,
    weights: Mapping[str, torch.Tensor],
    *,
    skipped: int = 0,
    overflowed: int = 0,
    texts: list[str],
) -> None:
    training_id = f"training-{objective}"
    output = workspace.training(training_id)
    model = write_model(output / MODEL_NAME, weights)
    job = TrainingJob(
        training_id=training_id,
        model=base,
        shards=base,
        output=output,
        steps=10,
        loss=LossConfig(objective=objective),
        training=TrainingConfig(pairs_per_step=8, tokens_per_batch=100),
    )
    change = weight_change(base, model)
    finish(
        job,
        TrainingManifest(training_id, 10, skipped, 1.0, 1, {}, overflowed_steps=overflowed, change=change),
    )
    assert not checkpoints_dir(job).exists()
    save_findings(workspace.database, RUN, Findings(trainings={objective: training_id}))
    judged(workspace, label_of(objective), texts)


def changes(workspace: Workspace, config: PipelineConfig) -> ModelChanges:
    database = workspace.database
    return ModelChanges(workspace, find_run(database, RUN), evaluations_of(database, RUN), config)


def change_of(found: ModelChanges, label: str = "FIGA") -> ModelChange:
    change = found.change(label)
    assert change is not None
    return change


def test_a_training_that_changed_no_weight_left_the_base_model(
    workspace: Workspace, base: Path, config: PipelineConfig
) -> None:
    trained(workspace, base, FIGA, BASE_WEIGHTS, skipped=10, texts=["x", "answer 1", "answer 2", "answer 3"])
    found = changes(workspace, config)
    assert found.identity("FIGA") == found.identity("base") is not None
    change = change_of(found)
    assert (change.updates, change.steps, change.relative) == (0, 10, 0.0)
    assert (change.same, change.compared) == (3, 4)


def test_two_trainings_with_equal_weights_are_one_model_and_not_the_base(
    workspace: Workspace, base: Path, config: PipelineConfig
) -> None:
    moved = {**BASE_WEIGHTS, "b": torch.tensor([2.5])}
    for objective in (FIGA, SFT):
        trained(workspace, base, objective, moved, texts=["other"] * 4)
    found = changes(workspace, config)
    assert found.identity(label_of(FIGA)) == found.identity(label_of(SFT)) is not None
    assert found.identity("base") != found.identity("FIGA")
    assert found.change("base") is None
    assert change_of(found).relative == pytest.approx(
        0.5 / (sum((k / 7) ** 2 for k in range(1, 9)) + 4) ** 0.5
    )


def test_different_weights_are_different_models(
    workspace: Workspace, base: Path, config: PipelineConfig
) -> None:
    for objective, value in ((FIGA, 2.5), (SFT, 3.0)):
        moved = {**BASE_WEIGHTS, "b": torch.tensor([value])}
        trained(workspace, base, objective, moved, overflowed=2, texts=["other"] * 4)
    found = changes(workspace, config)
    assert len({found.identity(label) for label in ("base", label_of(FIGA), label_of(SFT))}) == 3
    assert (change_of(found).updates, change_of(found).overflowed) == (8, 2)


def test_a_model_judged_in_another_dtype_has_the_effect_of_rounding_alone(
    workspace: Workspace, base: Path, config: PipelineConfig
) -> None:
    """As earlier releases did: trained and exported in bfloat16."""
    rounded = {name: weight.bfloat16() for name, weight in BASE_WEIGHTS.items()}
    trained(workspace, base, FIGA, rounded, texts=["other"] * 4)
    change = change_of(changes(workspace, config))
    assert (change.dtype, change.base_dtype) == ("bfloat16", "float32")
    assert change.rounding == pytest.approx(change.relative)
    assert change.rounding == pytest.approx(rounding_change(base, "bfloat16"))
    assert 1e-4 < (change.rounding or 0) < 2**-8
