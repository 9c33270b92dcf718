"""The arguments of torchrun: as ever on one machine, and with a place to meet on several."""

import pytest

from figa_core.config.rendezvous import RendezvousConfig
from figa_core.config.training import TrainingConfig
from figa_core.errors import TrainingError
from figa_core.training.nodes.torchrun import ALONE, meeting_of

TWO = TrainingConfig(nodes=2, rendezvous=RendezvousConfig(wait_s=7))


def test_one_node_does_not_look_for_others() -> None:
    alone = meeting_of(TrainingConfig(), 0, None, "attempt")
    assert alone is ALONE
    assert list(alone.torchrun) == ["--standalone", "--local-addr=127.0.0.1"]


def test_the_nodes_meet_at_the_address_of_the_first_under_the_name_of_the_attempt(address: str) -> None:
    assert list(meeting_of(TWO, 1, f"{address}:29500", "attempt").torchrun) == [
        "--nnodes=2",
        "--node-rank=1",
        f"--master-addr={address}",
        "--master-port=29500",
        "--rdzv-id=attempt",
        "--rdzv-conf=timeout=7",
        f"--local-addr={address}",
    ]


@pytest.mark.parametrize(("node", "meet"), [(2, "10.0.0.1:29500"), (1, None)])
def test_a_node_that_does_not_exist_or_has_no_place_to_go_is_refused(node: int, meet: str | None) -> None:
    with pytest.raises(TrainingError, match=f"a training of 2 nodes has no node {node}"):
        meeting_of(TWO, node, meet, "attempt")


def test_an_unknown_address_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"node 0 cannot be reached at no-such-host\.invalid:29500"):
        meeting_of(TWO, 1, "no-such-host.invalid:29500", "attempt")


def test_nodes_that_do_not_come_are_an_error_that_names_the_setting(address: str) -> None:
    meeting = meeting_of(TWO, 0, f"{address}:29500", "attempt")
    error = str(meeting.missed(RuntimeError("Timed out waiting for clients. 1/2 clients joined.\nmore")))
    assert "not all of the 2 nodes came to" in error
    assert "within 7 s (training.rendezvous.wait_s): Timed out waiting for clients. 1/2 clients" in error
    assert "more" not in error
