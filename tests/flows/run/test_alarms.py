"""Every alarm is an event in Prefect, for automations."""

from pathlib import Path

import pytest
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker
from prefect.testing.fixtures import asserting_events_worker as asserting_events_worker

from figa_core.evaluation.alarms import EvaluationAlarm
from figa_core.training.alarms import Alarm
from figa_core.training.job import TrainingJob
from flows.run.alarms import announce_alarm, announce_evaluation_alarm


@pytest.fixture
def events(prefect_api: str, request: pytest.FixtureRequest) -> EventsWorker:
    """Keeps the events instead of sending them; Prefect wants an API all the same."""
    AssertingEventsClient.reset()
    return request.getfixturevalue("asserting_events_worker")


def test_an_alarm_of_a_training_is_an_event_with_its_values(events: EventsWorker, tmp_path: Path) -> None:
    alarm = Alarm("kl_from_base", 30, None, 0.25, 1.25, stops=True, good_step=20)
    job = TrainingJob(training_id="id-7", model=tmp_path, shards=tmp_path, output=tmp_path, steps=60)
    announce_alarm(job, alarm)
    events.drain()
    [event] = AssertingEventsClient.last.events if AssertingEventsClient.last else []
    assert event.event == "figa.alarm"
    assert (event.resource.id, event.resource.name) == ("figa.training.id-7", "FIGA: kl from base")
    assert event.payload == {
        "model": "FIGA",
        "text": alarm.text,
        "name": "kl_from_base",
        "step": 30,
        "value": None,
        "base": 0.25,
        "limit": 1.25,
        "stops": True,
        "good_step": 20,
    }


def test_an_alarm_of_an_evaluation_is_an_event_of_its_run(events: EventsWorker) -> None:
    announce_evaluation_alarm("run-1", "SFT", EvaluationAlarm("response_length", "its answers run on"))
    events.drain()
    [event] = AssertingEventsClient.last.events if AssertingEventsClient.last else []
    assert (event.event, event.resource.id) == ("figa.alarm", "figa.run.run-1")
    assert event.payload == {"model": "SFT", "name": "response_length", "text": "its answers run on"}
