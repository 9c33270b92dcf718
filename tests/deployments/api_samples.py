"""How long the routes that the UI asks for take to answer, asked again and again beside what else goes on."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import quantiles

import httpx

EVERY_S = 0.5
_TIMEOUT_S = 60.0
ROUTES = {
    "flow_runs/filter": {"limit": 200, "sort": "EXPECTED_START_TIME_DESC"},
    "artifacts/filter": {"limit": 100},
    "health": None,
}
"""With the body of a POST; None for a GET."""


@dataclass
class Samples:
    """Of every route: how long it took, in seconds, and what did not answer with 200, in words."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {route: [] for route in ROUTES})
    troubles: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Of each route and of all: how many, and their median, 95th percentile and maximum in seconds."""
        everything = {**self.seconds, "all": [each for taken in self.seconds.values() for each in taken]}
        found = dict[str, float]()
        for route, taken in everything.items():
            twentieths = quantiles(taken, n=20, method="inclusive")
            found |= {f"{route}: requests": len(taken), f"{route}: p50": twentieths[9]}
            found |= {f"{route}: p95": twentieths[18], f"{route}: max": max(taken)}
        return found


@contextmanager
def sampling(api_url: str, auth: tuple[str, str]) -> Iterator[Samples]:
    """Ask each route every half second while the block runs, or once it has answered if that takes longer."""
    samples, done = Samples(), threading.Event()
    threads = [
        threading.Thread(target=_ask, args=(samples, done, route, api_url, auth), daemon=True)
        for route in ROUTES
    ]
    for thread in threads:
        thread.start()
    try:
        yield samples
    finally:
        done.set()
        for thread in threads:
            thread.join(2 * _TIMEOUT_S)


def _ask(samples: Samples, done: threading.Event, route: str, api_url: str, auth: tuple[str, str]) -> None:
    body = ROUTES[route]
    # A new connection for each: a server may close an idle one at the moment it is used again.
    anew = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=api_url, auth=auth, timeout=_TIMEOUT_S, limits=anew) as client:
        while not done.is_set():
            began = time.perf_counter()
            try:
                answer = client.get(f"/{route}") if body is None else client.post(f"/{route}", json=body)
                if answer.status_code != httpx.codes.OK:
                    samples.troubles.append(f"{route}: {answer.status_code} {answer.text[:200]}")
            except httpx.HTTPError as error:
                samples.troubles.append(f"{route}: {error!r}")
            taken = time.perf_counter() - began
            samples.seconds[route].append(taken)
            done.wait(max(0.0, EVERY_S - taken))
