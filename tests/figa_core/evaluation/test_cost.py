"""Costs: operations, sums and means."""

from figa_core.evaluation.cost import NOTHING, Cost, forward_flops, mean_cost, training_flops


def test_training_takes_three_times_the_operations_of_a_forward_pass() -> None:
    assert training_flops(10, 5) == 3 * forward_flops(10, 5) == 300
    assert training_flops(10, 5, frozen=True) == 200


def test_costs_add_up_but_for_the_memory() -> None:
    total = Cost(1, 2, 3, 40, usd=0.5) + Cost(10, 20, 30, 4)
    assert total == Cost(11, 22, 33, 40, usd=0.5)
    assert mean_cost([Cost(2, 4, 6, 8), Cost(4, 8, 10, 6)]) == Cost(3, 6, 8, 8)
    assert mean_cost([]) == NOTHING
