"""Ranks on a bond agree before they train, and learn within moments that another one is gone, and why."""

import queue
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from figa_core.training.failures import Failure
from figa_core.training.nodes.bonds import Hub, Member
from figa_core.training.nodes.endings import GONE, Ending
from figa_core.training.nodes.line import call
from figa_core.training.nodes.roll_call import Presence

TOKEN = "secret"
WITHIN_S = 20.0


def presence(rank: int, version: str = "1") -> Presence:
    return Presence(rank, rank, f"gpu{rank}", {"torch": version})


class Ranks:
    """Rank 0 and some others in this process; `ended` holds what each of them heard."""

    def __init__(self, members: int) -> None:
        self.ended: dict[int, queue.Queue[Ending]] = {rank: queue.Queue() for rank in range(members + 1)}
        self.hub = Hub(ranks=members + 1, token=TOKEN, on_end=self.ended[0].put, settle_s=0.2)
        self.members = {rank: self._member(rank) for rank in range(1, members + 1)}

    def _member(self, rank: int) -> Member:
        return Member.of("127.0.0.1", self.hub.port, TOKEN, self.ended[rank].put)

    def call_roll(self, **versions: str) -> list[list[str]]:
        """The answers that the ranks get; `versions` by names such as "rank1"."""
        with ThreadPoolExecutor() as pool:
            others = [
                pool.submit(each.call_roll, presence(rank, versions.get(f"rank{rank}", "1")))
                for rank, each in self.members.items()
            ]
            own = self.hub.call_roll(presence(0), timeout_s=WITHIN_S)
            return [list(own), *(list(each.result()) for each in others)]

    def heard(self, rank: int) -> Failure:
        return self.ended[rank].get(timeout=WITHIN_S).as_failure()

    def nothing_heard(self) -> bool:
        return all(each.empty() for each in self.ended.values())


@pytest.fixture
def ranks() -> Iterator[Ranks]:
    made = Ranks(2)
    yield made
    for member in made.members.values():
        member.leave()
        member.close()
    made.hub.close()


def test_ranks_that_agree_begin_and_end_without_a_word(ranks: Ranks) -> None:
    assert ranks.call_roll() == [[], [], []]
    for member in ranks.members.values():
        member.leave()
    ranks.hub.leave()
    for member in ranks.members.values():
        member.close()
    assert ranks.nothing_heard()


def test_all_ranks_get_the_reason_why_they_cannot_train_together(ranks: Ranks) -> None:
    answers = ranks.call_roll(rank2="2")
    assert answers[0] == answers[1] == answers[2]
    [reason] = answers[0]
    assert "node 2 (gpu2) has another version of torch: 2, where node 0 (gpu0) has 1" in reason


def test_a_rank_that_does_not_come_is_named() -> None:
    hub = Hub(ranks=2, token=TOKEN, on_end=lambda _: None)
    [reason] = hub.call_roll(presence(0), timeout_s=0.1)
    assert "no word from rank 1" in reason
    hub.close()


def test_a_rank_that_is_gone_is_named_to_all_others(ranks: Ranks) -> None:
    ranks.call_roll()
    ranks.members[1].close()  # as the kernel does when its process is killed
    for rank in (0, 2):
        failure = ranks.heard(rank)
        assert (failure.origin, failure.message) == ("rank 1 on node 1 (gpu1)", GONE)
        assert failure.silent


def test_the_error_of_a_rank_is_what_the_others_hear(ranks: Ranks) -> None:
    """Although the connection of another one is closed before it, as when torchrun ends its neighbours."""
    ranks.call_roll()
    ranks.members[1].close()
    error = Failure(2, "OutOfMemoryError", "the GPU's memory is full", secondary=False, where="node 2 (gpu2)")
    ranks.members[2].failed(error)
    assert ranks.heard(0) == error


def test_an_error_of_rank_0_reaches_the_others_before_it_ends(ranks: Ranks) -> None:
    ranks.call_roll()
    error = Failure(0, "TrainingError", "token id 7", secondary=False, where="node 0 (gpu0)")
    ranks.hub.failed(error)
    assert [ranks.heard(rank) for rank in (1, 2)] == [error, error]
    assert ranks.ended[0].empty(), "it ends by itself"


def broken(rank: int) -> Failure:
    where = presence(rank).where
    return Failure(rank, "RuntimeError", "Connection closed by peer", secondary=True, where=where)


def test_ranks_whose_connections_break_learn_which_rank_is_gone(ranks: Ranks) -> None:
    ranks.call_roll()
    ranks.members[1].close()
    with ThreadPoolExecutor() as pool:
        causes = [
            pool.submit(each.failed, broken(rank)) for rank, each in ((0, ranks.hub), (2, ranks.members[2]))
        ]
        for each in causes:
            cause = each.result(WITHIN_S)
            assert cause is not None
            assert (cause.rank, cause.as_failure().message) == (1, GONE)


def test_ranks_whose_connections_to_rank_0_break_learn_that_it_is_gone(ranks: Ranks) -> None:
    ranks.call_roll()
    ranks.hub.close()
    cause = ranks.heard(1)
    assert (cause.rank, cause.message) == (0, GONE)
    again = ranks.members[2].failed(broken(2))
    assert again is not None
    assert again.as_failure().origin == "rank 0 on node 0 (gpu0)"


def test_the_end_of_rank_0_is_noticed(ranks: Ranks) -> None:
    ranks.call_roll()
    ranks.hub.close()
    assert ranks.heard(1).origin == "rank 0 on node 0 (gpu0)"
    assert ranks.heard(2).message == GONE


def test_a_stranger_on_the_port_changes_nothing(ranks: Ranks) -> None:
    with socket.create_connection(("127.0.0.1", ranks.hub.port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert stranger.recv(10) == b""
    false = call("127.0.0.1", ranks.hub.port, WITHIN_S)
    false.send(token="guessed", presence={"rank": 1, "node": 1, "host": "x"})
    assert false.receive(WITHIN_S) is None
    false.close()
    assert ranks.call_roll() == [[], [], []]


def test_a_rank_of_another_release_is_refused_by_name() -> None:
    hub = Hub(ranks=2, token=TOKEN, on_end=lambda _: None)
    line = call("127.0.0.1", hub.port, WITHIN_S)
    line.send(token=TOKEN, presence={"rank": 1, "node": 1, "host": "gpu1", "a new field": 1})
    [reason] = hub.call_roll(presence(0), timeout_s=WITHIN_S)
    assert "node 1 (gpu1) has another version of torch: none" in reason
    line.close()
    hub.close()
