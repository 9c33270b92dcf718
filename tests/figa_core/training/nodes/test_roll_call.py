"""Nodes that run other code or libraries, or do not see the same files, are named with what differs."""

from dataclasses import replace
from pathlib import Path

from figa_core.training.job import TrainingJob
from figa_core.training.nodes.roll_call import (
    Presence,
    code_version,
    disagreements,
    library_versions,
    presence_of,
)
from tests.figa_core.training.jobs import MakeJob

FIRST = Presence(0, 0, "gpu1", {"torch": "2.13.0", "deepspeed": "0.19.8"}, {"/w/model": "a"}, device="a GPU")


def on_gpu2(rank: int = 4, **changes: object) -> Presence:
    return replace(FIRST, rank=rank, node=1, host="gpu2", **changes)


class Time:
    """Passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def presence(job_path: Path, proof: str, time: Time | None = None) -> Presence:
    time = time or Time()
    return presence_of(
        job_path,
        proof,
        rank=4,
        node=1,
        host="gpu2",
        device="the CPU",
        clock=time.clock,
        sleep=time.sleep,
    )


def written(job: TrainingJob) -> Path:
    job.output.mkdir()
    path = job.output / "job.json"
    path.write_text(job.model_dump_json())
    return path


def test_equal_nodes_have_nothing_to_settle() -> None:
    assert disagreements([on_gpu2(), FIRST]) == []


def test_every_difference_is_one_line_that_names_the_node_whatever_the_number_of_its_ranks() -> None:
    versions = {"torch": "2.12.0", "peft": "0.21"}
    other = on_gpu2(versions=versions, unseen=("/w/t/job.json",), digests={"/w/model": "b"})
    lines = disagreements([FIRST, other, replace(other, rank=5)])
    assert [line.split(".")[0] for line in lines[:1]] == ["node 1 (gpu2) does not see /w/t/job"]
    assert "node 1 (gpu2) has another version of torch: 2.12.0, where node 0 (gpu1) has 2.13.0." in lines[1]
    assert "deepspeed: none, where node 0 (gpu1) has 0.19.8" in lines[2]
    assert "peft: 0.21, where node 0 (gpu1) has none" in lines[3]
    assert "node 1 (gpu2) sees other files in /w/model than node 0 (gpu1)" in lines[4]
    assert len(lines) == 5


def test_a_node_without_gpus_does_not_train_with_one_that_has_some() -> None:
    [line] = disagreements([FIRST, on_gpu2(device="the CPU")])
    assert line.startswith("node 1 (gpu2) trains on the CPU, where node 0 (gpu1) trains on a GPU. Let both")
    assert disagreements([replace(FIRST, device="the CPU"), on_gpu2(device="the CPU")]) == []


def test_a_rank_says_what_it_runs_and_sees(make_job: MakeJob) -> None:
    path = written(make_job())
    (path.parent / "proof").touch()
    found = presence(path, "proof")
    job = TrainingJob.from_json(path.read_text())
    assert found.unseen == []
    assert found.device == "the CPU"
    assert found.versions == {**code_version(), **library_versions()}
    assert found.versions.keys() >= {"the code of figa", "torch", "deepspeed", "transformers"}
    assert found.digests.keys() == {str(job.model), str(job.shards)}


def test_a_file_that_appears_a_little_later_is_seen(make_job: MakeJob) -> None:
    path = written(make_job())

    class Late(Time):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.now > 5:
                (path.parent / "proof").touch()

    assert presence(path, "proof", Late()).unseen == []


def test_a_path_that_a_node_does_not_see_is_told(make_job: MakeJob, tmp_path: Path) -> None:
    path = written(make_job(model=tmp_path / "elsewhere"))
    assert presence(path, "proof").unseen == [str(path.with_name("proof")), str(tmp_path / "elsewhere")]
    nowhere = tmp_path / "nowhere" / "job.json"
    assert presence(nowhere, "proof").unseen == [str(nowhere.with_name("proof")), str(nowhere)]


def test_other_files_have_another_digest(make_job: MakeJob, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "manifest.json").write_text("{}")
    path = written(make_job(shards=shards))
    before = presence(path, "job.json").digests[str(shards)]
    (shards / "manifest.json").write_text("{ }")
    assert presence(path, "job.json").digests[str(shards)] != before
