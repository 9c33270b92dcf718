"""What a training refuses before it starts, and its small files."""

from pathlib import Path

import pytest

from figa_core.chat.format import ChatFormat
from figa_core.config.training import LossConfig, TrainingConfig
from figa_core.errors import TrainingError
from figa_core.records import WeighedPair
from figa_core.shards.write import write_shards
from figa_core.training.checkpoints import (
    Checkpoint,
    checkpoints_dir,
    last_whole,
    mark_whole,
    remove_unfinished,
    tag_of,
)
from figa_core.training.failures import clear_failures, record_failure, root_failure
from figa_core.training.job import Levers, TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.metrics import StepMetrics, keep_until, read_metrics, to_line
from tests.figa_core.training.jobs import changed, training_job


@pytest.fixture
def job(tmp_path: Path, model_dir: Path, shards_dir: Path) -> TrainingJob:
    job = training_job(model_dir, shards_dir, tmp_path / "out", processes=1)
    return changed(job, training_id="training", steps=10)


def metrics(step: int) -> StepMetrics:
    return StepMetrics(step, -0.5, 10, 100, 4, 0.1, 1e-3, None, figures={"positive_nll": None, "share": 0.25})


def test_a_job_survives_its_json(job: TrainingJob) -> None:
    assert TrainingJob.from_json(job.to_json()) == job
    with pytest.raises(TrainingError, match=r"job.json: not a training job"):
        TrainingJob.from_json('{"model": "x"}', source="job.json")


def test_a_job_of_release_0_1_is_read(job: TrainingJob) -> None:
    earlier = """{
        "training_id": "training", "model": "/w/model", "shards": "/w/shards/set", "output": "/w/trainings/t",
        "objective": "sft_revised", "alpha": 1.0, "beta": 0.25, "gamma": 0.1, "negative_nll_max": null,
        "learning_rate": 1e-05, "steps": 39, "pairs_per_step": 8, "tokens_per_batch": 8192, "zero_stage": 3,
        "processes": 2, "dtype": "bfloat16", "checkpoint_steps": 7, "seed": 5,
        "levers": {"sparse_head": true, "tail_cut": false, "packing": true}
    }"""
    loss = {"objective": "sft_revised", "beta": 0.25, "gamma": 0.1, "negative_nll_max": None}
    training = {
        "learning_rate": 1e-5,
        "pairs_per_step": 8,
        "zero_stage": 3,
        "processes": 2,
        "checkpoint_steps": 7,
        "seed": 5,
    }
    read = TrainingJob.from_json(earlier)
    assert read == TrainingJob(
        training_id="training",
        model=Path("/w/model"),
        shards=Path("/w/shards/set"),
        output=Path("/w/trainings/t"),
        steps=39,
        loss=LossConfig.model_validate(loss),
        training=TrainingConfig.model_validate(training),
        levers=Levers(tail_cut=False),
    )
    assert TrainingJob.from_json(read.to_json()) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not a training job"),
        ("[]", "not a training job"),
        ('{"loss": {"objective": "dpo?"}}', r"loss.objective: Input should be 'figa'"),
        ('{"loss": {}, "training": {"pairs_per_step": "auto"}}', "pairs_per_step must be a number"),
    ],
)
def test_what_is_no_job_says_why(text: str, said: str) -> None:
    with pytest.raises(TrainingError, match=f"job.json: .*{said}"):
        TrainingJob.from_json(text, source="job.json")


@pytest.mark.parametrize(
    ("kind", "what"), [("tokenizer_hash", "another tokenizer"), ("template_hash", "another chat template")]
)
def test_shards_of_another_tokenizer_or_template_are_refused_before_anything_starts(
    job: TrainingJob, chat: ChatFormat, pairs: list[WeighedPair], tmp_path: Path, kind: str, what: str
) -> None:
    hashes = {"tokenizer_hash": chat.tokenizer_hash, "template_hash": chat.template_hash, kind: "0" * 64}
    foreign = tmp_path / "foreign"
    write_shards(
        foreign, pairs, shard_set_id="s", scheme="levenshtein", max_length=64, pairs_per_shard=100, **hashes
    )
    ours = getattr(chat, kind)[:12]
    with pytest.raises(TrainingError, match=rf"made with {what} than .*\({'0' * 12}, not {ours}\)"):
        run_training(changed(job, shards=foreign), log_path=tmp_path / "log")
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


def test_metrics_behind_a_checkpoint_and_half_lines_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(to_line(metrics(step)) for step in range(1, 6)) + '{"step": 6, "lo')
    assert [m.step for m in read_metrics(path)] == [1, 2, 3, 4, 5]
    keep_until(path, 3)
    assert list(read_metrics(path)) == [metrics(step) for step in (1, 2, 3)]


def save(job: TrainingJob, step: int, *, ranks: int = 1) -> None:
    (checkpoints_dir(job) / tag_of(step)).mkdir(parents=True)
    mark_whole(job, Checkpoint(step, ranks, job.training.zero_stage, job.training.dtype, 1.0, tag_of(step)))


def test_the_last_two_whole_checkpoints_are_kept(job: TrainingJob) -> None:
    for step in (2, 4, 6):
        save(job, step)
    (checkpoints_dir(job) / tag_of(8)).mkdir()  # killed while writing
    latest = last_whole(job)
    assert latest is not None
    assert latest.step == 6
    remove_unfinished(job)
    assert sorted(path.name for path in checkpoints_dir(job).iterdir()) == [tag_of(4), tag_of(6)]


def test_a_checkpoint_of_other_ranks_is_not_resumed(job: TrainingJob) -> None:
    save(job, 2, ranks=4)
    assert last_whole(job) is None


def test_the_error_that_the_others_followed_from_is_told(tmp_path: Path) -> None:
    output = tmp_path / "not" / "there yet"
    record_failure(output, 0, RuntimeError("Connection closed by peer"), secondary=True)
    record_failure(output, 2, TrainingError("token id 7"), secondary=False)
    record_failure(output, 1, TrainingError("token id 999 of “Ỹ”"), secondary=False)
    failure = root_failure(output)
    assert failure is not None
    assert (failure.rank, failure.kind, failure.message) == (1, "TrainingError", "token id 999 of “Ỹ”")
    clear_failures(output)
    assert root_failure(output) is None


def test_the_words_of_a_rank_that_was_killed_as_it_wrote_them_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "failure-rank0.json").write_text('{"rank": 0, "ki')
    (tmp_path / "failure-rank1.json").write_text('{"rank": 1}')
    assert root_failure(tmp_path) is None
    record_failure(tmp_path, 3, TrainingError("no room"), secondary=True)
    failure = root_failure(tmp_path)
    assert failure is not None
    assert failure.rank == 3
