"""Faulty answers for the reward model: of every quality, and as far from right as the verifier says."""

import json
import random
from collections.abc import Iterator

import pytest

from figa_core.domains.base import Domain, load_domain
from figa_core.real.json_faults import faulty_answer, in_layout
from figa_core.records import Message


@pytest.fixture(scope="module")
def domain() -> Domain:
    return load_domain("structured")


def drawn(domain: Domain, count: int) -> Iterator[tuple[list[Message], str, str]]:
    """Prompts, faulty answers, and the right ones in the same layout."""
    rng = random.Random(1)
    rows = list(domain.rows(40, 1))
    answers = [json.loads(row["reference"]) for row in rows]
    before = json.dumps(answers)
    for index in range(count):
        row = rows[index % len(rows)]
        messages = [Message(**message) for message in row["prompt"]]
        yield messages, *faulty_answer(answers[index % len(rows)], answers, rng)
    assert json.dumps(answers) == before, "the right answers are left as they were"


def test_there_are_answers_of_every_quality(domain: Domain) -> None:
    scores = [domain.verify(messages, text) for messages, text, _ in drawn(domain, 400)]
    tenths = [sum(tenth <= 10 * score < tenth + 1 for score in scores) for tenth in range(11)]
    assert tenths[0] > 10, "nothing right, or no JSON"
    assert tenths[10] > 10, "all right"
    assert sum(tenths[3:9]) > 100, "partly right"


def test_the_right_answer_is_right_in_every_layout(domain: Domain) -> None:
    for messages, text, right in drawn(domain, 200):
        assert domain.verify(messages, right) == pytest.approx(1)
        assert domain.verify(messages, text) <= 1


def test_equal_draws_give_equal_answers_and_layouts(domain: Domain) -> None:
    assert list(drawn(domain, 20)) == list(drawn(domain, 20))
    answer = {"b": 1, "a": {"c": "x"}}
    layouts = {in_layout(answer, random.Random(seed)) for seed in range(40)}
    assert len(layouts) == 8  # four kinds of spaces, sorted or not
    assert all(json.loads(text) == answer for text in layouts)
