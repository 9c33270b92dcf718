"""The clock of the Prefect server, as its answers state it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import prefect
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.automations import MISSED_S
from deployments.pools import Pool
from deployments.worker import check
from figa_core.errors import ConfigError
from flows.server.clocks import CLOCK_S, check_clock, difference_s
from flows.server.names import HEARTBEAT_S
from flows.server.own_worker import check_own_worker

NOON = 1_800_000_000.0


@contextmanager
def server_ahead_by(seconds: float) -> Iterator[str]:
    """The API's address of a server whose clock is wrong."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(prefect.__version__ if self.path.endswith("/version") else True).encode()
            self.send_response(404 if "/variables/" in self.path else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate((timestamp or time.time()) + seconds, usegmt=True)

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - its name there

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("ahead_s", "words"), [(3600, "ahead of"), (-3600, "behind")])
def test_a_clock_that_is_an_hour_off_is_refused_in_words(ahead_s: float, words: str) -> None:
    with (
        server_ahead_by(ahead_s) as url,
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(ConfigError, match=rf"{url}/? is 3,\d\d\d s {words} the one here\. Set both by NTP"),
    ):
        check_clock()


async def test_a_worker_does_not_start_and_its_runs_do_not_where_the_clock_is_wrong() -> None:
    with server_ahead_by(3600) as url, temporary_settings({PREFECT_API_URL: url}):
        with pytest.raises(ConfigError, match="Set both by NTP"):
            await check(Pool.CPU)
        with pytest.raises(ConfigError, match="Set both by NTP"):
            check_own_worker()


def test_a_clock_that_agrees_is_no_problem() -> None:
    with server_ahead_by(0) as url, temporary_settings({PREFECT_API_URL: url}):
        check_clock()


@pytest.mark.parametrize(
    ("stated", "took_s", "difference"),
    [
        (NOON, 0.1, 0.0),
        (NOON - 0.9, 0.1, 0.0),  # the header has whole seconds
        (NOON + 20, 60.0, 0.0),  # a slow answer says nothing about the clock
        (NOON + 3600, 60.0, 3540.0),
        (NOON - 3600, 60.0, -3599.0),
    ],
)
def test_only_what_the_time_of_the_answer_does_not_explain_counts(
    stated: float, took_s: float, difference: float
) -> None:
    header = formatdate(int(stated), usegmt=True)
    assert difference_s(header, NOON, NOON + took_s) == pytest.approx(difference, abs=1e-6)


@pytest.mark.parametrize("stated", [None, "", "yesterday"])
def test_without_a_date_nothing_is_wrong(stated: str | None) -> None:
    assert difference_s(stated, NOON, NOON + 1) == 0.0


def test_a_run_whose_clock_is_at_the_bound_does_not_look_dead_between_two_heartbeats() -> None:
    assert HEARTBEAT_S + CLOCK_S < MISSED_S
