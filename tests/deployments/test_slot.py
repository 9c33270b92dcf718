"""A run keeps the slot of its deployment, also if the server has lost it; on a real server."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Completed, Crashed, Pending, Running, Scheduled

from deployments.slot import Slot


@flow(name="figa")
def _figa() -> None: ...


@pytest.fixture
def client(prefect_api: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


class Deployment:
    """One that runs one at a time."""

    def __init__(self, client: SyncPrefectClient, limit: int | None = 1) -> None:
        self.client = client
        flow_id = client.create_flow(_figa)
        self.id = client.create_deployment(flow_id, f"limit-{limit}", concurrency_limit=limit)

    @property
    def taken(self) -> int:
        limit = self.client.read_deployment(self.id).global_concurrency_limit
        assert limit is not None
        return limit.active_slots

    def scheduled(self) -> UUID:
        return self.client.create_flow_run_from_deployment(self.id, state=Scheduled()).id

    def taken_up(self, run_id: UUID) -> FlowRun:
        self.client.set_flow_run_state(run_id, Pending())
        return self.client.read_flow_run(run_id)

    def running(self) -> FlowRun:
        run_id = self.scheduled()
        self.taken_up(run_id)
        self.client.set_flow_run_state(run_id, Running())
        return self.client.read_flow_run(run_id)


@pytest.fixture
def deployment(client: SyncPrefectClient) -> Iterator[Deployment]:
    made = Deployment(client)
    yield made
    client.delete_deployment(made.id)


def _lose_lease(client: SyncPrefectClient, run: FlowRun) -> None:
    """As the server does with one that nobody has renewed."""
    assert run.state is not None
    lease = run.state.state_details.deployment_concurrency_lease_id
    assert lease is not None
    client.release_concurrency_slots_with_lease(lease)


def test_a_slot_that_was_lost_is_taken_again_so_that_no_second_run_begins_beside_the_first(
    client: SyncPrefectClient, deployment: Deployment
) -> None:
    run, slot = deployment.running(), Slot()
    assert slot.keep(client, run)
    assert deployment.taken == 1
    _lose_lease(client, run)
    assert deployment.taken == 0
    for _ in range(2):
        assert slot.keep(client, run)
        assert deployment.taken == 1
    assert deployment.taken_up(deployment.scheduled()).state_type is StateType.SCHEDULED
    client.set_flow_run_state(run.id, Completed())
    assert deployment.taken == 0


def test_a_run_that_was_taken_for_dead_takes_its_slot_again_and_frees_it_once(
    client: SyncPrefectClient, deployment: Deployment
) -> None:
    run, slot = deployment.running(), Slot()
    assert slot.keep(client, run)
    client.set_flow_run_state(run.id, Crashed(), force=True)
    assert deployment.taken == 0
    client.set_flow_run_state(run.id, Running(), force=True)
    slot.lost()
    assert slot.keep(client, client.read_flow_run(run.id))
    assert deployment.taken == 1
    client.set_flow_run_state(run.id, Completed())
    assert deployment.taken == 0


def test_a_slot_that_another_run_has_is_not_taken_from_it(
    client: SyncPrefectClient, deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    run, slot = deployment.running(), Slot()
    assert slot.keep(client, run)
    _lose_lease(client, run)
    deployment.running()
    for _ in range(2):
        assert not slot.keep(client, run)
    assert deployment.taken == 1
    assert caplog.text.count("which may run beside it") == 1


def test_a_deployment_without_a_limit_has_no_slots(client: SyncPrefectClient) -> None:
    made = Deployment(client, limit=None)
    run = made.running()
    assert Slot().keep(client, run)
    client.delete_deployment(made.id)
