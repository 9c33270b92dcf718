"""Pairs and studies for the tests of this folder."""

from figa_core.records import Message
from figa_core.storage.preference_pairs import VerifiedPairs
from figa_core.study.reward.accuracy import Accuracy
from figa_core.study.reward.data import RewardStudy, SeedOutcome, VariantOutcome
from figa_core.study.reward.pairs import PreferencePair, make_pair


def pair(number: int, prompt: str | None = None) -> PreferencePair:
    messages = (Message("user", prompt or f"question {number}"),)
    made = make_pair(messages, f"good answer {number}", f"bad answer {number}")
    assert isinstance(made, PreferencePair)
    return made


def pairs(count: int) -> list[PreferencePair]:
    return [pair(number) for number in range(count)]


def variant(key: str, right: int, mean: float, seeds: int = 2, prompts: int = 40) -> VariantOutcome:
    """`right` of 100 held-out pairs, and scores around `mean`."""
    trainings = tuple(
        SeedOutcome(
            seed, f"training-{key}-{seed}", {f"p{n}": mean + (n % 5) - 2 + seed / 10 for n in range(prompts)}
        )
        for seed in range(seeds)
    )
    counts = VerifiedPairs(200, 100, 90, 80, 80, 100 - right, 3, 7)
    return VariantOutcome(
        key, f"the {key} one", f"a reward called {key}", f"run-{key}", Accuracy(right, 100), counts, 80,
        {"response_reward_below": 1.0}, {"pairs": 80.0, "steps": 20.0, "learning_rate": 1e-3}, trainings,
    )  # fmt: skip


def study(*variants: VariantOutcome, seeds: tuple[int, ...] = (0, 1)) -> RewardStudy:
    return RewardStudy(
        workspace="test",
        run_id="run-own",
        created_at="2026-01-01 00:00 UTC",
        verifier="module:verify",
        base={f"p{n}": 50.0 + (n % 5) - 2 for n in range(40)},
        variants=variants,
        training_pairs=400,
        held_out_pairs=100,
        pairs_from="a file",
        thresholds={"response_reward_below": "q0.4"},
        seeds=seeds,
    )
