"""A rank knows from its launcher's variables whether there are other machines, and ends for their sake."""

import json
from pathlib import Path

from figa_core.training.failures import Failure, root_failure
from figa_core.training.nodes.endings import GONE, Ending
from figa_core.training.nodes.meet import Company, Place, end_with, place_in

PLACE = Place(rank=0, ranks=4, node=0, host="gpu1")
GPU2 = "node 1 (gpu2)"


def test_the_ranks_of_one_machine_keep_to_themselves(tmp_path: Path) -> None:
    assert place_in({}, "gpu1") is None
    assert place_in({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}, "gpu1") is None
    assert place_in({"RANK": "1", "WORLD_SIZE": "2"}, "gpu1") is None
    alone = Company(tmp_path / "job.json", None)
    alone.gather()
    alone.part()
    assert alone.where == ""


def test_a_rank_of_several_machines_knows_its_node() -> None:
    environment = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
    assert place_in(environment, "gpu2") == Place(5, 8, 1, "gpu2")
    assert place_in({**environment, "GROUP_RANK": "3"}, "gpu2") == Place(5, 8, 3, "gpu2")


def test_the_end_of_a_rank_that_could_not_say_so_is_noted_for_the_run(tmp_path: Path) -> None:
    codes: list[int] = []
    end_with(tmp_path, PLACE, Ending(3, GPU2), codes.append)
    assert codes == [1]
    cause = root_failure(tmp_path)
    assert cause is not None
    assert (cause.origin, cause.message) == (f"rank 3 on {GPU2}", GONE)
    ours = json.loads((tmp_path / "failure-rank0.json").read_text())
    assert (ours["kind"], ours["secondary"]) == ("OtherRankError", True)
    assert ours["message"] == f"rank 3 on {GPU2} ended: {GONE}"


def test_the_error_of_another_rank_is_left_as_that_rank_wrote_it(tmp_path: Path) -> None:
    error = Failure(3, "RuntimeError", "a fault", secondary=False, where=GPU2)
    end_with(tmp_path, PLACE, Ending(3, GPU2, error), lambda _: None)
    assert not (tmp_path / "failure-rank3.json").exists()


def test_an_error_is_recorded_with_the_node(tmp_path: Path) -> None:
    Company(tmp_path / "job.json", PLACE).fail(RuntimeError("a fault"), tmp_path, secondary=False)
    cause = root_failure(tmp_path)
    assert cause is not None
    assert cause.origin == "rank 0 on node 0 (gpu1)"


def test_a_node_without_the_workspace_writes_nothing_of_its_own(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    Company(nowhere / "job.json", PLACE).fail(RuntimeError("a fault"), nowhere, secondary=False)
    assert not nowhere.exists()
