"""The wish to stop: set once, seen everywhere."""

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from figa_core import interruption
from figa_core.errors import InterruptedRunError


@pytest.fixture(autouse=True)
def _nobody_asked() -> Iterator[None]:
    interruption.clear()
    yield
    interruption.clear()


def test_nothing_is_raised_while_nobody_asks() -> None:
    interruption.check()
    assert not interruption.requested()


def test_a_wish_is_raised_in_every_thread_and_stays() -> None:
    interruption.request()
    raised: list[BaseException] = []

    def work() -> None:
        try:
            interruption.check()
        except InterruptedRunError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with pytest.raises(InterruptedRunError, match="the same command goes on"):
        interruption.check()
    assert len(raised) == 1


def test_a_signals_handler_ends_a_wait() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: interruption.request())
    try:
        threading.Timer(0.1, signal.raise_signal, [signal.SIGUSR1]).start()
        begun = time.monotonic()
        interruption.sleep(60)
        assert time.monotonic() - begun < 30
        assert interruption.requested()
    finally:
        signal.signal(signal.SIGUSR1, before)
