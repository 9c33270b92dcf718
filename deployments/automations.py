"""The automations of the deployments, on the Prefect server.

Only missing ones are created, so that those a person has switched on or off stay that way.
"""

from datetime import timedelta
from pathlib import Path

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from pydantic.fields import FieldInfo

from figa_core.config.section import takes
from figa_core.training.job import TrainingSpec
from flows.server.names import DATASET_BUILT, FLOWS, NO_SIGN_OF_LIFE, TRAIN_MODEL

MISSED_S = 90
"""A run without a heartbeat for this long is dead. This is long enough for a restart of the server, and the
server still marks the run within two minutes."""

PENDING_S = 90
"""A run that has not begun this long after a worker took it never will: Python and the flow's imports take
about ten seconds."""

DEAD_RUNS = "figa: a run without a sign of life has crashed"
RUNS_NOT_BEGUN = "figa: a run that never began has crashed"
TRAIN_ON_NEW_DATASET = "figa: train on a new dataset"

_ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "Paused")


def dead_runs() -> AutomationCore:
    """Marks a run as Crashed when its heartbeats stop: its process, its worker or its machine was killed.

    From Prefect's documentation, "detect zombie flows".
    """
    return _crashed_without(
        DEAD_RUNS,
        after=("heartbeat",),
        expect=("heartbeat", *_ENDS),
        within_s=MISSED_S,
        message=f"{NO_SIGN_OF_LIFE} for {MISSED_S} s: its process or machine was stopped, or cannot reach "
        "the server (when it does, the run is Running again). Retry continues where the run stopped.",
    )


def runs_not_begun() -> AutomationCore:
    """Marks a run as Crashed if its worker was killed before its process started: it has no heartbeat.

    A Job of Kubernetes is there without its worker (InfrastructurePending), and may wait hours for a node.
    """
    return _crashed_without(
        RUNS_NOT_BEGUN,
        after=("Pending", "Submitting"),
        expect=(
            "InfrastructurePending",
            "Running",
            "Retrying",
            "Scheduled",
            "AwaitingRetry",
            "AwaitingConcurrencySlot",
            *_ENDS,
        ),
        within_s=PENDING_S,
        message=f"A worker took the run, and it has not begun {PENDING_S} s later: the worker was stopped. "
        "Retry starts it again.",
    )


async def train_on_new_dataset(client: PrefectClient) -> AutomationCore:
    """Starts `train-model` when `build-dataset` has built a dataset. Off by default."""
    deployment = await client.read_deployment_by_name(TRAIN_MODEL)
    return AutomationCore(
        name=TRAIN_ON_NEW_DATASET,
        description="When build-dataset has written a shard set, train-model trains on it.",
        enabled=False,
        trigger=EventTrigger(
            expect={DATASET_BUILT},
            match=ResourceSpecification({"prefect.resource.id": ["figa.dataset.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            RunDeployment(
                source="selected", deployment_id=deployment.id, parameters=_from_event(), job_variables=None
            )
        ],
    )


async def create_automations(client: PrefectClient, *, reset: bool = False) -> list[str]:
    """Create the missing automations, or recreate all of them with `reset`; returns their names."""
    created = []
    for each in (dead_runs(), runs_not_begun(), await train_on_new_dataset(client)):
        found = await client.read_automations_by_name(each.name)
        if found and not reset:
            continue
        for old in found:
            await client.delete_automation(old.id)
        await client.create_automation(each)
        created.append(each.name)
    return created


def _crashed_without(
    name: str, *, after: tuple[str, ...], expect: tuple[str, ...], within_s: int, message: str
) -> AutomationCore:
    """Marks a run as Crashed if none of the events `expect` follows one of `after` in time."""
    return AutomationCore(
        name=name,
        description=message,
        trigger=EventTrigger(
            after={f"prefect.flow-run.{event}" for event in after},
            expect={f"prefect.flow-run.{event}" for event in expect},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            # Our flows only: others may send heartbeats less often or start more slowly.
            match_related=ResourceSpecification(
                {"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)}
            ),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=within_s),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=message, name=None, force=False)],
    )


def _from_event() -> dict[str, object]:
    """The parameters of `train-model`, as templates over the event (`flows/build_dataset.py`)."""
    return {name: _template(name, field) for name, field in TrainingSpec.model_fields.items()}


def _template(name: str, field: FieldInfo) -> dict[str, object]:
    if takes(field, Path):
        return _jinja(f"{{{{ event.payload.{name} }}}}")
    return {"__prefect_kind": "json", "value": _jinja(f"{{{{ event.payload.{name} | tojson }}}}")}


def _jinja(template: str) -> dict[str, object]:
    return {"__prefect_kind": "jinja", "template": template}
