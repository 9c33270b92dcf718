"""Several runs with one source, on a fast clock."""

import asyncio
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from figa_core.errors import ConfigError
from figa_core.llm.limiter import RateLimiter
from figa_core.llm.permits import Drawn, PermitStock, SharedPermits, SharedRate, shared_rate
from tests.figa_core.llm.virtual import Run, Sliding, drive, largest_window, now, on_fast_clock

SLOTS = 1000


class Server:
    """A limit like Prefect's: at each grant, the permits that flow back are rounded down."""

    def __init__(self, rate: SharedRate, latency_s: Sequence[float] = (0.05,)) -> None:
        self._limit, self._decay = int(rate.capacity * SLOTS), rate.per_second * SLOTS
        self._rng, self._latency_s = random.Random(0), latency_s
        self._used, self._updated = 0, -1e9
        self.granted: list[tuple[float, float]] = []
        self.refusals = 0

    async def draw(self, most: float) -> Drawn | None:
        await asyncio.sleep(self._rng.choice(self._latency_s))
        slots, asked_at = min(self._limit - self._in_use(), math.ceil(most * SLOTS)), now()
        await asyncio.sleep(self._rng.choice(self._latency_s))
        in_use = self._in_use()
        if slots <= 0 or in_use + slots > self._limit:
            self.refusals += slots > 0
            return None
        self._used, self._updated = in_use + slots, now()
        self.granted.append((now(), slots / SLOTS))
        return Drawn(min(most, slots / SLOTS), asked_at)

    def _in_use(self) -> int:
        return max(0, self._used - math.floor(self._decay * (now() - self._updated)))


def shared(requests: Server, tokens: Server, seed: int = 0) -> SharedPermits:
    share = random.Random(seed).random
    return SharedPermits(PermitStock(requests, random_share=share), PermitStock(tokens, random_share=share))


async def drive_all(
    runs: int,
    seconds: float,
    requests: tuple[float, Server],
    tokens: tuple[float, Server],
    provider: Sliding,
    sizes=lambda: 1,
    **options,
) -> Run:
    """So many runs at once, each with the provider's limits too."""
    total = Run()
    permits = [shared(requests[1], tokens[1], seed) for seed in range(runs)]
    limiters = [RateLimiter(requests[0], tokens[0], shared=each) for each in permits]
    drives = (drive(limiter, provider, seconds, tokens=sizes, run=total, **options) for limiter in limiters)
    await asyncio.gather(*drives)
    for each in permits:
        await each.aclose()
    return total


def plenty() -> tuple[float, Server]:
    return 1e9, Server(SharedRate(1e9, 1e9))


@pytest.mark.parametrize("runs", [1, 2, 4])
def test_several_runs_share_one_limit_and_never_exceed_it(runs: int):
    async def main() -> Run:
        server = Server(shared_rate(6000, largest=1, runs=4))
        return await drive_all(runs, 150, (6000, server), plenty(), Sliding(6000), workers=40)

    run = on_fast_clock(main)
    assert run.refused == []
    assert largest_window(run.admitted, [1.0] * len(run.admitted), 60) <= 6000
    assert run.per_minute(1010, 1150) >= 0.95 * 6000


def test_a_slow_server_hardly_lowers_the_rate():
    async def main() -> Run:
        server = Server(shared_rate(6000, largest=1, runs=4), latency_s=(0.05, 0.1, 0.3))
        return await drive_all(2, 120, (6000, server), plenty(), Sliding(6000))

    run = on_fast_clock(main)
    assert run.refused == []
    assert run.per_minute(1010, 1120) >= 0.93 * 6000


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 4),
    st.integers(120, 3000),
    st.integers(30_000, 300_000),
)
def test_over_any_minute_all_runs_together_keep_both_limits(
    seed: int, runs: int, per_minute: int, tokens: int
):
    """Calls of up to a twentieth of the minute's tokens, in runs that come and go."""
    largest = tokens // 20
    rng = random.Random(seed)

    async def main() -> Run:
        latencies = (0.01, 0.05, 0.3, 1.5)
        requests = Server(shared_rate(per_minute, largest=1, runs=4), latencies)
        of_tokens = Server(shared_rate(tokens, largest=largest, runs=4), latencies)
        total = Run()

        async def one() -> None:
            for _ in range(3):
                await asyncio.sleep(rng.random() * 30)
                permits = shared(requests, of_tokens, rng.getrandbits(32))
                limiter = RateLimiter(per_minute, tokens, shared=permits)
                await drive(
                    limiter,
                    Sliding(1e9),
                    rng.random() * 60,
                    latency_s=0.1,
                    workers=8,
                    tokens=lambda: int(largest ** rng.random()),
                    run=total,
                )
                await permits.aclose()

        await asyncio.gather(*(one() for _ in range(runs)))
        return total

    run = on_fast_clock(main)
    assert largest_window(run.admitted, [1.0] * len(run.admitted), 60) <= per_minute
    assert largest_window(run.admitted, run.tokens, 60) <= tokens


def test_a_run_that_waits_for_requests_loses_no_tokens():
    """Both limits are as low as the calls need, so neither may be collected after the other."""

    async def main() -> Run:
        requests = Server(shared_rate(60, largest=1, runs=2))
        tokens = Server(shared_rate(60_000, largest=1000, runs=2))
        return await drive_all(
            1, 300, (60, requests), (60_000, tokens), Sliding(60, 60_000, burst=0), sizes=lambda: 1000
        )

    run = on_fast_clock(main)
    assert run.refused == []
    assert len(run.admitted) / 5 >= 0.85 * 60


@pytest.mark.parametrize(("pause_s", "slow_min", "fast_min"), [(0.5, 95, 5000), (0.025, 1700, 2900)])
def test_a_run_that_needs_little_leaves_the_rest_to_the_others(pause_s: float, slow_min: int, fast_min: int):
    async def main() -> tuple[int, int]:
        server = Server(shared_rate(6000, largest=1, runs=2))
        counts = []

        async def one(pause_s: float) -> None:
            share = random.Random(int(pause_s * 1000)).random
            stock, count, end = PermitStock(server, random_share=share), 0, now() + 60
            while now() < end:
                await stock.take(1)
                count += 1
                await asyncio.sleep(pause_s)
            await stock.aclose()
            counts.append((pause_s, count))

        await asyncio.gather(one(pause_s), one(0.001))
        return dict(counts)[pause_s], dict(counts)[0.001]

    slow, fast = on_fast_clock(main)
    assert slow >= slow_min
    assert fast >= fast_min


@pytest.mark.parametrize("seed", range(6))
def test_two_greedy_runs_get_about_as_much(seed: int):
    """Of 30 seeds, the slower run got 66 to 100 % of the faster one's calls; the median is 92 %."""

    async def main() -> list[int]:
        server = Server(shared_rate(6000, largest=1, runs=2))
        permits = [shared(server, plenty()[1], 2 * seed + run) for run in range(2)]
        drives = [
            drive(RateLimiter(6000, 1e9, shared=each), Sliding(1e9), 120, workers=40) for each in permits
        ]
        runs = await asyncio.gather(*drives)
        for each in permits:
            await each.aclose()
        return [len(run.admitted) for run in runs]

    counts = on_fast_clock(main)
    assert min(counts) >= 0.6 * max(counts)


def test_no_more_than_one_call_is_saved_up_while_idle():
    async def main() -> float:
        stock = PermitStock(Server(shared_rate(600, largest=1, runs=1)))
        for _ in range(50):
            await stock.take(1)
        await asyncio.sleep(100)
        start = now()
        for _ in range(20):
            await stock.take(1)
        await stock.aclose()
        return now() - start

    assert on_fast_clock(main) >= 1.0  # of 19 calls ten, one draw's worth, may come early


def test_an_idle_run_draws_nothing():
    async def main() -> int:
        server = Server(shared_rate(600, largest=1, runs=1))
        stock = PermitStock(server)
        await stock.take(1)
        await asyncio.sleep(10)
        before = len(server.granted)
        await asyncio.sleep(100)
        await stock.aclose()
        return len(server.granted) - before

    assert on_fast_clock(main) == 0


def test_an_error_of_the_source_is_raised_by_take():
    class Broken:
        async def draw(self, most: float) -> Drawn | None:
            raise ConfigError("no such limit")

    async def main() -> None:
        stock = PermitStock(Broken())
        for _ in range(2):
            with pytest.raises(ConfigError, match="no such limit"):
                await stock.take(1)
        await stock.aclose()

    on_fast_clock(main)


def test_too_low_a_limit_for_so_many_runs_is_refused():
    with pytest.raises(ValueError, match="cannot share"):
        shared_rate(10_000, largest=4096, runs=4)


def test_the_arithmetic_of_the_docstring():
    rate = shared_rate(6000, largest=1, runs=4)
    assert rate.per_second * 60 / 6000 == pytest.approx(0.966, abs=0.001)
    assert rate.capacity + rate.per_second * 61 + 4 == pytest.approx(6000)


@pytest.mark.parametrize("runs", [1, 4, 20])
def test_the_permits_of_60_s_and_one_call_of_each_run_add_up_to_the_limit(runs: int):
    rate = shared_rate(6000, largest=100, runs=runs)
    assert rate.capacity + rate.per_second * 61.0 + runs * 100 == pytest.approx(6000)
