"""A training's checks before it starts, its job file and its metrics."""

from pathlib import Path
from typing import Any

import pytest

from figa_core.chat.format import ChatFormat
from figa_core.config.training import LossConfig, TrainingConfig
from figa_core.errors import TrainingError
from figa_core.records import WeighedPair
from figa_core.training import launch
from figa_core.training.job import Levers, TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.metrics import StepMetrics, keep_until, read_metrics, to_line
from tests.figa_core.training.jobs import MakeJob, changed, write_set


@pytest.fixture
def job(make_job: MakeJob) -> TrainingJob:
    return make_job(training_id="training", steps=10)


def metrics(step: int) -> StepMetrics:
    return StepMetrics(step, -0.5, 10, 100, 4, 0.1, 1e-3, None, figures={"positive_nll": None, "share": 0.25})


def test_a_job_is_read_back_from_its_json(job: TrainingJob) -> None:
    assert TrainingJob.from_json(job.model_dump_json()) == job
    with pytest.raises(TrainingError, match=r"job.json: not a training job"):
        TrainingJob.from_json('{"model": "x"}', source="job.json")


def test_the_job_is_written_before_the_reference_pass(
    job: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which may take hours, and `figa clean` must know meanwhile what the training needs."""
    waiting = job.model_copy(update={"reference_log_probs": tmp_path / "log-probs"})

    def passes(model: Path, *_: Any, **__: Any) -> None:
        written = TrainingJob.from_json((waiting.output / "job.json").read_text())
        assert (written.model, written.shards) == (model, waiting.shards)
        raise TrainingError("seen")

    monkeypatch.setattr(launch, "_check_inputs", lambda _: None)
    monkeypatch.setattr(launch, "run_log_probs", passes)
    with pytest.raises(TrainingError, match="seen"):
        run_training(waiting, log_path=tmp_path / "log")


def test_a_job_of_release_0_1_is_read(job: TrainingJob) -> None:
    earlier = """{
        "training_id": "training", "model": "/w/model", "shards": "/w/shards/set", "output": "/w/trainings/t",
        "objective": "sft_revised", "alpha": 1.0, "beta": 0.25, "gamma": 0.1, "negative_nll_max": null,
        "learning_rate": 1e-05, "steps": 39, "pairs_per_step": 8, "tokens_per_batch": 8192, "zero_stage": 3,
        "processes": 2, "dtype": "bfloat16", "checkpoint_steps": 7, "seed": 5,
        "levers": {"sparse_head": true, "tail_cut": false, "packing": true}
    }"""
    read = TrainingJob.from_json(earlier)
    assert read == TrainingJob(
        training_id="training",
        model=Path("/w/model"),
        shards=Path("/w/shards/set"),
        output=Path("/w/trainings/t"),
        steps=39,
        loss=LossConfig(objective="sft_revised", beta=0.25, gamma=0.1, negative_nll_max=None),
        training=TrainingConfig(
            learning_rate=1e-5, pairs_per_step=8, zero_stage=3, processes=2, checkpoint_steps=7, seed=5
        ),
        levers=Levers(tail_cut=False),
    )
    assert TrainingJob.from_json(read.model_dump_json()) == read


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not a training job"),
        ("[]", "not a training job"),
        ('{"loss": {"objective": "dpo?"}}', r"loss.objective: Input should be 'figa'"),
        ('{"loss": {}, "training": {"pairs_per_step": "auto"}}', "pairs_per_step must be a number"),
    ],
)
def test_a_file_that_is_not_a_job_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(TrainingError, match=f"job.json: .*{reason}"):
        TrainingJob.from_json(text, source="job.json")


@pytest.mark.parametrize(
    ("kind", "what"), [("tokenizer_hash", "another tokenizer"), ("template_hash", "another chat template")]
)
def test_shards_of_another_tokenizer_or_template_are_refused_before_anything_starts(
    job: TrainingJob, chat: ChatFormat, pairs: list[WeighedPair], tmp_path: Path, kind: str, what: str
) -> None:
    hashes: dict[str, Any] = {
        "tokenizer_hash": chat.tokenizer_hash,
        "template_hash": chat.template_hash,
        kind: "0" * 64,
    }
    foreign = tmp_path / "foreign"
    write_set(foreign, pairs, **hashes)
    ours = getattr(chat, kind)[:12]
    with pytest.raises(TrainingError, match=rf"made with {what} than .*\({'0' * 12}, not {ours}\)"):
        run_training(changed(job, shards=foreign), log_path=tmp_path / "log")
    assert not job.output.exists()


def test_the_best_of_samples_is_not_trained_on_from_a_set_without_them(
    job: TrainingJob, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="sft_best trains on the best of each prompt's samples, and this"):
        run_training(changed(job, objective="sft_best"), log_path=tmp_path / "log")
    assert not job.output.exists()


def test_missing_shards_are_refused(job: TrainingJob, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no complete shard set"):
        run_training(changed(job, shards=tmp_path), log_path=tmp_path / "log")


def test_the_result_of_another_training_is_refused(job: TrainingJob, tmp_path: Path) -> None:
    job.output.mkdir()
    (job.output / "manifest.json").write_text(
        '{"training_id": "else", "steps": 1, "skipped_steps": 0, "wall_seconds": 1, "peak_rss_bytes": 1, '
        '"versions": {}}'
    )
    with pytest.raises(TrainingError, match="holds training else, not training"):
        run_training(job, log_path=tmp_path / "log")


def test_metrics_after_a_checkpoint_and_incomplete_lines_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(to_line(metrics(step)) for step in range(1, 6)) + '{"step": 6, "lo')
    assert [m.step for m in read_metrics(path)] == [1, 2, 3, 4, 5]
    keep_until(path, 3)
    assert list(read_metrics(path)) == [metrics(step) for step in (1, 2, 3)]
