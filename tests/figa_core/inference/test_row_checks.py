"""A row that a model cannot read fails alone, with either engine."""

from typing import Any

import pytest

from figa_core.chat.format import ChatFormat
from figa_core.inference.engine import Generating, Scoring
from figa_core.inference.row_checks import outcomes, problem_of
from figa_core.inference.transformers import TransformersGenerator, TransformersScorer
from figa_core.ports import GenerationRequest, RowFailure, ScoringRequest
from figa_core.sandbox.build import Sandbox

HUGE = 10**6


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        ((0, 9), None),
        ((), "no token"),
        ((1, 10), "id 10, 10 in"),
        ((3, -1, 12), "id -1"),
        ((1,) * 5, "5 tokens"),
    ],
)
def test_unreadable_ids_are_found_without_trying(ids: tuple[int, ...], reason: str | None) -> None:
    found = problem_of(ids, vocabulary=10, longest=4)
    assert found is None if reason is None else reason in str(found)


@pytest.mark.parametrize("bad", [[], [0], [6], [2, 3], list(range(7))])
def test_failing_rows_are_found_and_the_others_are_done(bad: list[int]) -> None:
    def work(rows: list[int]) -> list[str]:
        for row in rows:
            if row in bad:
                raise ValueError(f"row {row}\nis odd")
        return [f"done {row}" for row in rows]

    found = outcomes(work, range(7), [None] * 7, (ValueError,))
    assert [str(f) for f in found] == [
        f"the engine failed for this row (ValueError: row {row} is odd)" if row in bad else f"done {row}"
        for row in range(7)
    ]


def test_another_kind_of_error_is_raised() -> None:
    def work(rows: list[int]) -> list[str]:
        raise MemoryError

    with pytest.raises(MemoryError):
        outcomes(work, [1, 2], [None, None], (ValueError,))


def test_only_rows_without_a_problem_are_tried_and_the_order_is_kept() -> None:
    def work(rows: list[str]) -> list[float]:
        if "odd" in rows:
            raise ValueError("odd")
        return [float(row) for row in rows]

    found = outcomes(work, ["1", "long", "odd", "2"], [None, "too long", None, None], (ValueError,))
    assert found == [1.0, "too long", "the engine failed for this row (ValueError: odd)", 2.0]


def _split(batches: Any) -> tuple[dict[str, Any], dict[str, str]]:
    rows = [row for batch in batches for row in batch]
    failed = {row.row_id: row.reason for row in rows if isinstance(row, RowFailure)}
    good = [row for row in rows if not isinstance(row, RowFailure)]
    return {row[0] if isinstance(row, tuple) else row.request_id: row for row in good}, failed


def test_rows_out_of_the_vocabulary_fail_alone_when_generating(
    sandbox: Sandbox, chat: ChatFormat, generation_requests: list[GenerationRequest]
) -> None:
    settings = Generating(sandbox.base_model, chat.stop_token_ids, temperature=0.0, max_tokens=4)
    generator = TransformersGenerator(settings)
    requests = generation_requests[:4]
    odd = [GenerationRequest("huge", (1, HUGE), 0), GenerationRequest("none", (), 0)]
    good, failed = _split(generator.generate([*requests, *odd]))
    assert good == _split(generator.generate(requests))[0]
    assert "outside the model's vocabulary" in failed["huge"]
    assert "no token" in failed["none"]


def test_rows_out_of_the_vocabulary_fail_alone_when_scoring(
    sandbox: Sandbox, scoring_requests: list[ScoringRequest]
) -> None:
    scorer, requests = TransformersScorer(Scoring(sandbox.reward_model)), scoring_requests[:4]
    odd = [ScoringRequest("huge", (HUGE,)), ScoringRequest("none", ())]
    good, failed = _split(scorer.score([*requests, *odd]))
    assert good.keys() == {r.subject_id for r in requests}
    assert sorted(failed) == ["huge", "none"]
