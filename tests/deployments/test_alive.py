"""A run's process learns from the server's record whether it is thought dead or was started anew."""

from uuid import UUID, uuid4

import pytest
from prefect import flow_engine
from prefect.client.schemas.objects import FlowRun, StateType

from deployments.alive import Standing, Verdict, go_on_without_a_slot


def looks(*seen: tuple[StateType, int]) -> list[Verdict]:
    """What a process makes of each look at its run's state and number of starts."""
    standing = Standing()
    runs = (FlowRun(flow_id=uuid4(), state_type=state, run_count=starts) for state, starts in seen)
    return [standing.verdict(run) for run in runs]


BEGUN = (StateType.RUNNING, 1)
CRASHED = (StateType.CRASHED, 1)


def test_a_run_that_begins_and_goes_on_is_fine() -> None:
    seen = [(StateType.PENDING, 0), (StateType.SCHEDULED, 0), BEGUN, BEGUN, (StateType.COMPLETED, 1)]
    assert set(looks(*seen)) == {Verdict.FINE}


def test_a_run_is_thought_dead_when_it_is_crashed_at_two_looks() -> None:
    assert looks(BEGUN, CRASHED, BEGUN, CRASHED, CRASHED)[2:] == [
        Verdict.FINE,
        Verdict.FINE,
        Verdict.THOUGHT_DEAD,
    ]


@pytest.mark.parametrize(
    "seen", [(StateType.SCHEDULED, 1), (StateType.PENDING, 1), (StateType.RUNNING, 2)], ids=str
)
def test_a_run_that_somebody_retries_is_started_anew(seen: tuple[StateType, int]) -> None:
    assert looks(BEGUN, CRASHED, seen)[-1] is Verdict.STARTED_ANEW


def test_a_retried_run_counts_from_its_own_start() -> None:
    assert set(looks((StateType.PENDING, 1), (StateType.RUNNING, 2), (StateType.RUNNING, 2))) == {
        Verdict.FINE
    }


def test_a_start_of_our_own_is_none_by_somebody_else() -> None:
    standing = Standing()
    run = FlowRun(flow_id=uuid4(), state_type=StateType.RUNNING, run_count=1)
    assert standing.verdict(run) is Verdict.FINE
    standing.revived()
    run.run_count = 2
    assert standing.verdict(run) is Verdict.FINE
    run.run_count = 3
    assert standing.verdict(run) is Verdict.STARTED_ANEW


def test_a_run_whose_slot_cannot_be_renewed_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test knows only how Prefect calls it; that a run goes on is shown in test_two_hosts.py."""
    given: list[tuple[object, ...]] = []

    def maintain(lease: UUID, seconds: float, raise_on_lease_renewal_failure: bool) -> None:
        given.append((lease, seconds, raise_on_lease_renewal_failure))

    monkeypatch.setattr(flow_engine, "maintain_concurrency_lease", maintain)
    monkeypatch.setattr(flow_engine, "amaintain_concurrency_lease", maintain)
    go_on_without_a_slot()
    lease = uuid4()
    for name in ("maintain_concurrency_lease", "amaintain_concurrency_lease"):
        getattr(flow_engine, name)(lease, 300, raise_on_lease_renewal_failure=True)
    assert given == [(lease, 300, False)] * 2
