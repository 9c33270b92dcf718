"""Calls beside the event loop: the loop goes on, and nothing of a call is left behind its end."""

import asyncio
import threading

import pytest

from figa_core.errors import ArtifactsError, InterruptedRunError
from flows.run.apart import apart


async def test_the_event_loop_goes_on_while_a_call_waits() -> None:
    goes_on = threading.Event()

    async def other() -> None:
        goes_on.set()

    found, _ = await asyncio.gather(apart(goes_on.wait, 60), other())
    assert found


async def test_calls_come_one_after_another() -> None:
    at_work, most = list[int](), list[int]()

    def call(number: int) -> None:
        at_work.append(number)
        most.append(len(at_work))
        threading.Event().wait(0.02)
        at_work.remove(number)

    await asyncio.gather(*(apart(call, number) for number in range(4)))
    assert most == [1, 1, 1, 1]


async def test_its_errors_are_those_of_the_call() -> None:
    def fail() -> None:
        raise ArtifactsError("away")

    with pytest.raises(ArtifactsError, match="away"):
        await apart(fail)


async def test_a_call_that_was_stopped_stops_the_run_and_not_the_event_loop() -> None:
    def stop() -> None:
        raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        await apart(stop)
    await asyncio.sleep(0)


@pytest.mark.parametrize("fails", [False, True])
async def test_who_is_cancelled_waits_until_the_call_has_ended(fails: bool) -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        may_end.wait(60)
        ended.set()
        if fails:
            raise ArtifactsError("away")

    task = asyncio.create_task(apart(call))
    while not begun.is_set():
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
