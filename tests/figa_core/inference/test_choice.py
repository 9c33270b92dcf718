"""Which engine is chosen for which work."""

import pytest

from figa_core.inference.choice import (
    CPU,
    GPU,
    Choice,
    Device,
    Estimate,
    ModelSize,
    Work,
    by_transformers,
    by_vllm,
    choose,
)

TINY = ModelSize(parameters=5e5, weights_bytes=2e6, layers=2)
SMALL = ModelSize(parameters=1.35e8, weights_bytes=5.4e8, layers=30)
LARGE = ModelSize(parameters=8e9, weights_bytes=1.6e10, layers=32)


def _choice(work: Work, model: ModelSize, device: Device, *, vllm_is_up: bool = False) -> Choice:
    ours = by_transformers(work, model, device, 16_384, imported=False)
    return choose(ours, by_vllm(work, model, device, 16_384), vllm_is_up=vllm_is_up)


@pytest.mark.parametrize("device", [CPU, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("rows", [1, 12, 40])
def test_a_few_rows_start_no_vllm(rows: int, device: Device) -> None:
    assert not _choice(Work(rows, tokens_read=60, tokens_written=100), TINY, device).vllm
    assert not _choice(Work(rows, tokens_read=160), TINY, device).vllm


@pytest.mark.parametrize(("device", "model"), [(CPU, TINY), (CPU, SMALL), (GPU, SMALL), (GPU, LARGE)])
def test_vllm_does_a_night_of_generation(device: Device, model: ModelSize) -> None:
    assert _choice(Work(20_000, tokens_read=200, tokens_written=512), model, device).vllm


def test_a_large_model_makes_vllm_pay_off_with_fewer_rows() -> None:
    work = Work(64, tokens_read=200, tokens_written=512)
    assert not _choice(work, TINY, CPU).vllm
    assert _choice(work, SMALL, CPU).vllm


def test_on_a_cpu_vllm_never_scores() -> None:
    assert not _choice(Work(1_000_000, tokens_read=500), SMALL, CPU).vllm
    assert _choice(Work(1_000_000, tokens_read=500), LARGE, GPU).vllm


def test_a_running_vllm_costs_no_start() -> None:
    work = Work(30, tokens_read=300)
    assert not _choice(work, SMALL, CPU).vllm
    up = _choice(work, SMALL, CPU, vllm_is_up=True)
    assert (up.vllm, "up with this model" in up.reason) == (True, True)


def test_more_rows_never_favour_transformers() -> None:
    chosen = [_choice(Work(2**n, 100, 200), SMALL, GPU).vllm for n in range(20)]
    assert chosen == sorted(chosen)
    assert {True, False} == set(chosen)


def test_the_reason_names_both_durations() -> None:
    assert choose(Estimate(3, 4), Estimate(15, 1), vllm_is_up=False) == Choice(
        False, "about 7 s; vLLM would take 15 s to start alone"
    )
    assert choose(Estimate(3, 17), Estimate(15, 6), vllm_is_up=False).reason == (
        "about 20 s; vLLM would take 21 s, its start included"
    )
    assert choose(Estimate(3, 600), Estimate(15, 200), vllm_is_up=False) == Choice(
        True, "about 4 min; transformers would take 10 min"
    )


def test_equal_durations_start_nothing() -> None:
    assert not choose(Estimate(10, 10), Estimate(10, 10), vllm_is_up=False).vllm


def test_an_estimate_counts_every_pass_of_a_generation() -> None:
    one = Device(1, 2, 0, 1e9, 1e30, 5, 1e9, 100, 4, 2)
    model = ModelSize(parameters=1, weights_bytes=1e9, layers=3)
    # A pass: 1 s, 3 layers of 2 s, 1 s to read the weights; 10 tokens are 10 passes of one batch.
    generation = by_transformers(Work(2, 5, 10), model, one, 1000, imported=False)
    assert (generation.start, generation.work) == (pytest.approx(6), pytest.approx(80))
    again = by_transformers(Work(2, 5, 10), model, one, 1000, imported=True)
    assert (again.start, again.work) == (pytest.approx(1), pytest.approx(80))
    vllm = by_vllm(Work(2, 5, 10), model, one, 1000)
    assert (vllm.start, vllm.work) == (pytest.approx(101), pytest.approx(20))
    # Scoring is one pass per batch: 100 rows of 20 tokens are two batches.
    assert by_transformers(Work(100, 20), model, one, 1000, imported=False).work == pytest.approx(16)
    assert by_vllm(Work(100, 20), model, one, 1000).work == pytest.approx(8)
