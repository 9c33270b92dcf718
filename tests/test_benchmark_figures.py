"""Figures of the benchmarks of a training's parts are found beside those of the whole, in either order."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.chatlike import ChatLike, draw_steps
from tests.benchmarks.figures import PARTS, save, save_part
from tests.benchmarks.summary import Case


def test_figures_of_a_part_are_among_those_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def saved() -> dict[str, float]:
        return json.loads(Path("build/bench/training.json").read_text())

    save_part("training", "lora", {"lora_gain": 1.25, "peak_gb_full": 3})
    save("training", {"old": 1}, keeping=PARTS)
    save("training", {"ratio_vs_reference_32k": 3.3}, keeping=PARTS)
    assert saved() == {"lora_gain": 1.25, "lora_peak_gb_full": 3, "ratio_vs_reference_32k": 3.3}
    save_part("training", "memory_plan", {"largest_difference": 0.1})
    assert saved()["memory_plan_largest_difference"] == 0.1
    assert saved()["ratio_vs_reference_32k"] == 3.3


def test_prompts_of_half_a_sequence_are_half_of_it() -> None:
    settings = ChatLike(vocabulary=2000, edited=0.1, answer_median=350, prompt_share=0.5)
    pairs = [pair for step in draw_steps(settings, steps=2, pairs_per_step=8) for pair in step]
    shares = [len(pair.prompt_ids) / (len(pair.prompt_ids) + len(pair.response_ids)) for pair in pairs]
    assert np.allclose(shares, 0.5, atol=0.03)
    assert Case(32_000, 0.1, 0.5).suffix == "_32k_p50"
    assert Case(32_000, 0.3).suffix == "_32k_30"
