"""Alarms about a model, as events in Prefect: an automation can tell people of them."""

from dataclasses import asdict

from prefect.events import emit_event

from figa_core.evaluation.alarms import EvaluationAlarm
from figa_core.training.alarms import Alarm
from figa_core.training.job import TrainingJob
from figa_core.training.objectives.registry import label_of
from flows.server.names import ALARM


def announce_alarm(job: TrainingJob, alarm: Alarm) -> None:
    """An alarm of a training, while it trains."""
    emit_event(
        ALARM,
        resource={
            "prefect.resource.id": f"figa.training.{job.training_id}",
            "prefect.resource.name": f"{label_of(job.objective)}: {alarm.name.replace('_', ' ')}",
        },
        payload={"model": label_of(job.objective), "text": alarm.text, **asdict(alarm)},
    )


def announce_evaluation_alarm(run_id: str, label: str, alarm: EvaluationAlarm) -> None:
    """An alarm about a model of a run, once it is judged."""
    emit_event(
        ALARM,
        resource={
            "prefect.resource.id": f"figa.run.{run_id}",
            "prefect.resource.name": f"{label}: {alarm.name.replace('_', ' ')}",
        },
        payload={"model": label, **asdict(alarm)},
    )
