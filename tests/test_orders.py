"""The orders of the anchors' benchmark: what is right scores 100, and a repaired draft is right."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.orders import Order, orders, repaired, score

TRUTH: dict[str, str | int] = {"item": "lamp", "colour": "red", "quantity": 24, "city": "Oslo"}
ORDER = Order("Send two dozen red lamps to Oslo.", TRUTH)
RIGHT = json.dumps(TRUTH)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (RIGHT, 100),
        (RIGHT.replace("24", '"24"'), 80),
        (RIGHT.replace("24", "true"), 80),
        (RIGHT.replace('"red"', '"Red"'), 100),
        (RIGHT.replace("}", ', "price": 3}'), 90),
        ("{}", 20),
        (f"Here it is: {RIGHT}", 0),
        (f"[{RIGHT}]", 0),
        (RIGHT[:-1], 0),
    ],
)
def test_the_verifier_counts_members_and_refuses_what_is_not_one_object(answer: str, expected: float) -> None:
    assert score(ORDER, answer) == expected


@given(st.text(max_size=60) | st.text(alphabet='{}":, \n' + "itemcolrquanyRed24", max_size=60))
def test_every_draft_is_repaired(draft: str) -> None:
    assert score(ORDER, repaired(ORDER, draft)) == 100


@pytest.mark.parametrize(
    ("draft", "expected"),
    [
        (RIGHT, RIGHT),
        (RIGHT.replace("24", '"24"'), RIGHT),
        (f"Sure!\n```json\n{RIGHT}\n```", RIGHT),
        (
            '{\n  "city": "Oslo",\n  "item": "lamps"\n}',
            '{\n  "city": "Oslo",\n  "item": "lamp",\n  "colour": "red",\n  "quantity": 24\n}',
        ),
    ],
)
def test_a_repair_keeps_the_order_and_the_lines_of_the_draft(draft: str, expected: str) -> None:
    assert repaired(ORDER, draft) == expected


def test_orders_are_different_and_the_same_for_a_seed() -> None:
    found = orders(50, 1)
    assert len({order.text for order in found}) == 50
    assert found == orders(50, 1)
    assert found[:5] != orders(5, 2)
