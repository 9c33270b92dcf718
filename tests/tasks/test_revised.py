"""Whether a run may continue after the revise stage, and its last line."""

import pytest

from figa_core.errors import LLMError, OpenRevisionsError, RefusedRevisionsError
from figa_core.storage.causes import Cause
from tasks.results import StageCounts
from tasks.revised import Revised, check_open_rows, check_refused_rows, open_rows_warning

CAUSES = (
    Cause("server_error", 8, "rev-a", "HTTP 500: the model is overloaded"),
    Cause("timeout", 4, "rev-b", "no whole answer within 60 s"),
    Cause("bad_request", 1, "rev-c", "HTTP 400: x" + "y" * 1000),
)


def revised(open_rows: int = 0, refused: int = 0, rows: int = 1000, **others: object) -> Revised:
    kinds = {"server_error": open_rows} if open_rows else {}
    return Revised(
        StageCounts(rows, rows - open_rows - refused),
        kinds,
        open_causes=CAUSES if open_rows else (),
        refused_causes=CAUSES if refused else (),
        refused_rows=refused,
        **others,  # type: ignore[arg-type]
    )


def test_open_rows_up_to_the_share_are_tolerated_with_a_warning_that_names_causes_and_the_retry():
    check_open_rows(revised(10), 0.01)
    warning = open_rows_warning(revised(10))
    assert warning is not None
    assert "10 revisions are still open (10 server_error) of 1,000" in warning
    assert "8 × server_error, for example rev-a: HTTP 500: the model is overloaded" in warning
    assert "figa retry-revisions" in warning
    assert open_rows_warning(revised()) is None


def test_one_row_more_ends_the_run_with_the_three_causes_and_an_example_of_each():
    with pytest.raises(OpenRevisionsError, match=r"tolerates 1\.0%.*retry-revisions") as caught:
        check_open_rows(revised(11), 0.01)
    lines = str(caught.value).splitlines()[-3:]
    causes = [line.strip().split(",")[0] for line in lines]
    assert causes == ["8 × server_error", "4 × timeout", "1 × bad_request"]
    assert all(len(line) < 320 for line in lines)


def test_a_share_of_zero_tolerates_no_row():
    check_open_rows(revised(), 0.0)
    with pytest.raises(OpenRevisionsError):
        check_open_rows(revised(1), 0.0)


def test_the_message_names_what_stopped_the_stage():
    stopped = LLMError("the account is empty")
    with pytest.raises(OpenRevisionsError, match="the account is empty"):
        check_open_rows(revised(500, stopped_by=stopped), 0.01)
    assert "the account is empty" in str(open_rows_warning(revised(5, stopped_by=stopped)))


def test_rows_refused_for_good_have_a_separate_limit():
    check_refused_rows(revised(refused=200), 0.2)
    check_open_rows(revised(refused=200), 0.0)
    with pytest.raises(RefusedRevisionsError, match=r"201 of 1,000.*refused_share_max tolerates 20\.0%") as e:
        check_refused_rows(revised(refused=201), 0.2)
    assert "for example rev-a: HTTP 500" in str(e.value)
