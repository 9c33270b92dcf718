"""Node 0 calls the others on a board, which they read."""

from pathlib import Path

import pytest

from figa_core.config.rendezvous import RendezvousConfig
from figa_core.errors import TrainingError
from figa_core.training.nodes.addresses import interface_of
from figa_core.training.nodes.board import Board, Meeting, Notice, next_meeting
from tests.figa_core.training.jobs import MakeJob

MEETING = Meeting("attempt", Path("/w/t/job.json"), "gpu1", 29500, 2)


def test_what_is_called_is_read_until_the_training_and_its_session_end(tmp_path: Path) -> None:
    path = tmp_path / "workspace" / "nodes.json"
    ours, theirs = Board(path, "session"), Board(path)
    assert theirs.read() is None
    ours.call(MEETING)
    assert theirs.read() == Notice("session", MEETING)
    ours.clear()
    assert theirs.read() == Notice("session")
    ours.end()
    assert theirs.read() == Notice()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"session": null}', '{"session": "1", "meeting": {"job": "x"}}']
)
def test_a_board_that_cannot_be_read_is_not_there(text: str, tmp_path: Path) -> None:
    path = tmp_path / "nodes.json"
    path.write_text(text)
    assert Board(path).read() is None


def test_every_attempt_meets_at_an_address_of_node_0_under_another_name(
    make_job: MakeJob, address: str
) -> None:
    job = make_job(nodes=2)
    first, second = (next_meeting(job, job.output / "job.json") for _ in range(2))
    assert first.attempt != second.attempt
    assert first.host == address
    assert interface_of(first.host) not in (None, "lo")
    assert (first.nodes, first.job) == (2, job.output / "job.json")
    assert first.address == f"{first.host}:{first.port}"


def test_a_given_address_is_used(make_job: MakeJob, address: str) -> None:
    job = make_job(nodes=2, rendezvous=RendezvousConfig(address=f"{address}:29500"))
    assert next_meeting(job, job.output).address == f"{address}:29500"
    assert Meeting("a", Path(), "fd00::1", 29500, 2).address == "[fd00::1]:29500"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("localhost:29500", "localhost is 127.0.0.1 on this machine, which no other node reaches"),
        ("no-such-host.invalid:29500", "no-such-host.invalid is not known on this machine"),
        ("192.0.2.1:29500", "192.0.2.1 is not an address of this machine"),
    ],
)
def test_an_address_that_cannot_be_node_0_is_refused(address: str, reason: str, make_job: MakeJob) -> None:
    job = make_job(nodes=2, rendezvous=RendezvousConfig(address=address))
    with pytest.raises(TrainingError, match=f"training.rendezvous.address: {reason}"):
        next_meeting(job, job.output)
