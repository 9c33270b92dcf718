from itertools import islice

import pytest

from figa_core.domains.base import load_domain
from figa_core.domains.wrong_answers import graded_answers

DOMAINS = ("structured", "arithmetic")


@pytest.mark.parametrize("name", DOMAINS)
def test_every_task_has_a_right_answer_and_wrong_ones_with_the_verifiers_cost(name):
    domain = load_domain(name)
    costs = []
    for right, *wrong in islice(graded_answers(domain, 0), 60):
        assert right.cost == 0
        for answer in wrong:
            assert answer.messages == right.messages
            assert answer.cost == 1 - domain.verify(answer.messages, answer.text)
            costs.append(answer.cost)
    assert sum(cost > 0.05 for cost in costs) > 0.6 * len(costs)
    assert len({round(cost, 2) for cost in costs}) > 10


@pytest.mark.parametrize("name", DOMAINS)
def test_a_replaced_piece_knows_what_is_right_in_its_place(name):
    faults = 0
    for right, *wrong in islice(graded_answers(load_domain(name), 1), 20):
        assert all(piece.text == piece.right for piece in right.pieces)
        faults += sum(piece.text != piece.right for answer in wrong for piece in answer.pieces)
    assert faults > 20


def test_equal_seeds_draw_equal_answers():
    first, second, other = (
        [
            answer.text
            for group in islice(graded_answers(load_domain("structured"), seed), 5)
            for answer in group
        ]
        for seed in (3, 3, 4)
    )
    assert first == second != other
