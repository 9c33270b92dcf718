"""Which of several ranks' ends is reported as the cause."""

from figa_core.training.failures import Failure
from figa_core.training.nodes.endings import GONE, Ending, cause_of

NODE = "node 1 (gpu2)"


def failed(rank: int, *, secondary: bool = False) -> Ending:
    return Ending(rank, NODE, Failure(rank, "RuntimeError", f"error of {rank}", secondary, NODE))


def test_a_rank_that_is_gone_explains_the_broken_connections_of_others() -> None:
    gone = Ending(3, NODE)
    assert cause_of([failed(0, secondary=True), gone, failed(1, secondary=True)]) is gone
    assert gone.as_failure().origin == f"rank 3 on {NODE}"
    assert gone.as_failure().message == GONE


def test_an_error_of_its_own_explains_the_ranks_beside_it_that_were_ended() -> None:
    own = failed(2)
    assert cause_of([Ending(3, NODE), failed(0, secondary=True), own]) is own
    assert own.as_failure().message == "error of 2"


def test_of_equals_the_first_counts() -> None:
    first, second = Ending(5, NODE), Ending(4, NODE)
    assert cause_of([first, second]) is first
    assert cause_of([failed(7), failed(6)]).rank == 7
