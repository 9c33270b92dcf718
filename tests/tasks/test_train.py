"""The ids of trainings: equal work has equal ids, whatever its speed settings are."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from figa_core.config import LossConfig, TrainingConfig
from figa_core.errors import TrainingError
from figa_core.training.checkpoints import TrainingManifest
from figa_core.training.job import TrainingJob, TrainingSpec
from figa_core.training.objectives.figa import Figa
from figa_core.training.objectives.registry import label_of, objective_names
from figa_core.training.objectives.sft import Sft
from tasks.train import is_finished, steps_of, training_job
from tasks.workspace import Workspace
from tests.tasks.shard_sets import write_set

AT_FIRST = LossConfig(gamma=0.0)  # the first release's default


def training_id(tmp_path: Path, loss: LossConfig | None = None, **settings: Any) -> str:
    return job_of(tmp_path, loss, **settings).training_id


def job_of(
    tmp_path: Path, loss: LossConfig | None = None, config: dict[str, Any] | None = None, **settings: Any
) -> TrainingJob:
    """Of a model with this config.json."""
    training = TrainingConfig.model_validate(settings)
    shards = write_set(tmp_path / "shards" / "set")
    model = tmp_path / "base"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(json.dumps(config or {}))
    (model / "model.safetensors").write_bytes(b"weights")
    spec = TrainingSpec(shards=shards, model=model, loss=loss or LossConfig(), training=training)
    return training_job(Workspace(tmp_path), spec)


def test_without_a_complete_shard_set_nothing_is_trained(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no complete shard set here. Build one"):
        training_job(Workspace(tmp_path), TrainingSpec(shards=tmp_path / "shards", model=tmp_path))


def test_epochs_become_steps_and_the_last_one_of_each_may_be_smaller() -> None:
    assert steps_of(TrainingConfig(epochs=3, pairs_per_step=8), 100) == 39
    assert steps_of(TrainingConfig(epochs=3, pairs_per_step=8, max_steps=5), 100) == 5
    assert steps_of(TrainingConfig(epochs=3, pairs_per_step=128), 4) == 3


def test_a_training_whose_steps_all_have_one_size_keeps_its_id(tmp_path: Path) -> None:
    """100 pairs; the ids of release 0.1, which filled the last step of an epoch with pairs of the next."""
    even = job_of(tmp_path, AT_FIRST, pairs_per_step=10)
    cut = job_of(tmp_path, AT_FIRST, pairs_per_step=8, max_steps=12)
    assert (even.steps, even.training_id) == (30, "training-s256-85ca8e6cec002d071dc9b1810b61c10d")
    assert (cut.steps, cut.training_id) == (12, "training-s256-f691e0ccfeaa71a9afc725bf7fecc643")


def test_a_training_with_a_smaller_step_is_another_one_unless_the_earlier_one_is_finished(
    tmp_path: Path,
) -> None:
    uneven = job_of(tmp_path, AT_FIRST, pairs_per_step=8)
    assert (uneven.steps, uneven.training_id) == (39, "training-s256-b44a6c761eac58ffafdd71c8db2f8822")
    earlier = "training-s256-89dac405704f4548edd5ef30a1e47456"
    unfinished = Workspace(tmp_path).training(earlier)
    unfinished.mkdir(parents=True)
    assert job_of(tmp_path, AT_FIRST, pairs_per_step=8) == uneven
    manifest = TrainingManifest(earlier, 38, 0, 1.0, 1, {})
    (unfinished / "manifest.json").write_text(json.dumps(asdict(manifest)))
    found = job_of(tmp_path, AT_FIRST, pairs_per_step=8)
    assert (found.training_id, found.steps, is_finished(found)) == (earlier, 38, True)


@pytest.mark.parametrize(
    "settings",
    [
        {"zero_stage": 3},
        {"processes": 2},
        {"nodes": 2, "rendezvous": {"address": "gpu1:29500"}},
        {"tokens_per_batch": 64},
        {"prefix_sharing": False},
        {"checkpoint_steps": 7},
        {"schedule": {"kind": "constant", "warmup_share": 0}, "optimizer": {"epsilon": 1e-8}},
    ],
)
def test_what_changes_only_speed_changes_no_id(tmp_path: Path, settings: dict[str, Any]) -> None:
    assert training_id(tmp_path, **settings) == training_id(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": 1.0},
        {"epochs": 7},
        {"seed": 1},
        {"dtype": "float32"},
        {"pairs_per_step": 3},
        {"schedule": {"kind": "cosine"}},
        {"optimizer": {"epsilon": 1e-6}},
    ],
)
def test_what_changes_the_result_changes_the_id(tmp_path: Path, settings: dict[str, Any]) -> None:
    assert training_id(tmp_path, **settings) != training_id(tmp_path)


WITH_DROPOUT = {"model_type": "gpt2", "resid_pdrop": 0.1}
WITHOUT = {"model_type": "gpt2", **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)}


@pytest.mark.parametrize(
    ("model", "lora", "other"),
    [
        (WITH_DROPOUT, {}, True),
        ({"model_type": "gpt2"}, {}, True),  # by transformers' defaults
        ({"model_type": "of nobody", "text_config": {"attention_dropout": 0.2}}, {}, True),
        (WITHOUT | {"summary_first_dropout": 0.0}, {"rank": 4, "dropout": 0.1}, True),
        (WITHOUT | {"summary_first_dropout": 0.0}, {}, False),
        ({"model_type": "llama"}, {"rank": 4}, False),
    ],
)
def test_answers_that_share_dropout_make_another_training(
    tmp_path: Path, model: dict[str, Any], lora: dict[str, Any], other: bool
) -> None:
    def named(**settings: Any) -> str:
        return training_id(tmp_path, config=model, lora=lora, **settings)

    assert (named(prefix_sharing=True) != named()) is other
    assert named(prefix_sharing=False) == named(prefix_sharing="auto") == named()


def test_pairs_that_are_kept_apart_make_no_steps_and_too_few_are_an_error(tmp_path: Path) -> None:
    job = job_of(tmp_path, pairs_per_step=8, held_out={"share": 0.2})
    assert job.steps == 30, "three epochs of 80 pairs"
    with pytest.raises(TrainingError, match=r"held_out\.share: 0\.03 of 100 pairs leaves 3 to judge by"):
        job_of(tmp_path, held_out={"share": 0.03})
    with pytest.raises(TrainingError, match=r"held_out\.patience: no pairs are kept apart"):
        job_of(tmp_path, held_out={"patience": 3})


def test_a_training_whose_only_step_has_the_rate_zero_is_refused(tmp_path: Path) -> None:
    schedule = {"warmup_share": 0.1}
    assert job_of(tmp_path, max_steps=2, schedule=schedule).steps == 2
    with pytest.raises(TrainingError, match=r"schedule\.warmup_share: .* rate 0\. Set the share to 0"):
        job_of(tmp_path, max_steps=1, schedule=schedule)


def test_sft_reads_no_weights_so_they_do_not_change_its_id(tmp_path: Path) -> None:
    plain = LossConfig(objective="sft_revised")
    weighted = LossConfig(objective="sft_revised", gamma=0.5, negative_nll_max=None)
    assert training_id(tmp_path, plain) == training_id(tmp_path, weighted)
    assert training_id(tmp_path, LossConfig(gamma=0.5)) != training_id(tmp_path)


def test_a_new_default_changes_no_id_of_a_training_that_does_not_read_the_setting(tmp_path: Path) -> None:
    """Its id has the first release's default."""
    assert LossConfig().gamma != AT_FIRST.gamma
    assert Sft.settled(LossConfig(objective="sft", gamma=0.7)).gamma == AT_FIRST.gamma
    assert training_id(tmp_path, LossConfig(gamma=0.3)) == training_id(tmp_path)
    assert training_id(tmp_path, AT_FIRST) != training_id(tmp_path)


def test_every_objective_has_a_different_label() -> None:
    assert len({label_of(name) for name in objective_names()}) == len(objective_names())


def test_an_automatic_step_size_is_settled_before_the_id(tmp_path: Path) -> None:
    """100 pairs: setting the size that "auto" chooses gives the same training."""
    auto = job_of(tmp_path, pairs_per_step="auto")
    assert (auto.pairs_per_step, auto.steps) == (8, 39)
    assert auto == job_of(tmp_path, pairs_per_step=8)


def test_automatic_epochs_are_settled_before_the_id(tmp_path: Path) -> None:
    """100 pairs in steps of 8: two passes; a training with the number set by hand is the same one."""
    auto = job_of(tmp_path, pairs_per_step=8, epochs="auto")
    assert (auto.training.epochs, auto.steps) == (2, 26)
    assert auto == job_of(tmp_path, pairs_per_step=8, epochs=2)
    both = job_of(tmp_path, pairs_per_step="auto", epochs="auto")
    assert both == job_of(tmp_path, pairs_per_step=both.pairs_per_step, epochs=2)
    kept_apart = job_of(tmp_path, pairs_per_step=8, epochs="auto", held_out={"share": 0.2})
    assert (kept_apart.training.epochs, kept_apart.steps) == (3, 30)


@pytest.mark.parametrize("epochs", ["some", 0, -1, 1.5])
def test_epochs_are_a_number_of_passes_or_auto(epochs: object) -> None:
    with pytest.raises(ValidationError, match="epochs"):
        TrainingConfig.model_validate({"epochs": epochs})


@pytest.mark.parametrize("size", ["some", 0, -1, 1.5])
def test_a_step_size_is_a_number_of_pairs_or_auto(size: object) -> None:
    with pytest.raises(ValidationError, match="pairs_per_step"):
        TrainingConfig.model_validate({"pairs_per_step": size})


def test_an_integer_is_the_same_training_as_a_float_and_a_gate_that_is_off_is_another(tmp_path: Path) -> None:
    assert training_id(tmp_path, LossConfig(alpha=1)) == training_id(tmp_path)
    assert training_id(tmp_path, LossConfig(negative_nll_max=None)) != training_id(tmp_path)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (LossConfig(objective="sft", gamma=0.5), "training-s256-7ac9aed7dc2606a80742c26522ef0838"),
        (LossConfig(objective="sft_revised"), "training-s256-de18cf834b686c4e2d8dc655753b8fe0"),
        (
            LossConfig(objective="unlikelihood", gamma=0.0, negative_nll_max=2.0),
            "training-s256-45eeedcc4220baf5166d3fef35cabc13",
        ),
        (
            LossConfig(alpha=2.0, beta=0.25, gamma=0.1, negative_nll_max=None),
            "training-s256-bdb15b0d0ab791a5c352d0143771e143",
        ),
    ],
)
def test_each_objective_keeps_its_ids(tmp_path: Path, loss: LossConfig, expected: str) -> None:
    assert training_id(tmp_path, loss, pairs_per_step=10) == expected


def test_only_settings_that_the_objective_reads_and_new_ones_that_are_set_enter_the_id() -> None:
    spec = TrainingSpec(shards=Path("s"), model=Path("m"))
    assert spec.settings_in_id() == {
        "objective": "figa",
        "alpha": 1.0,
        "beta": 0.5,
        "gamma": 0.3,
        "negative_nll_max": 0.6,
        "learning_rate": 1e-5,
        "pairs_per_step": 128,
        "dtype": "bfloat16",
        "seed": 0,
    }
    assert Figa.settled(spec.loss) == spec.loss


def test_log_probabilities_of_a_reference_model_are_kept_beside_the_shards(tmp_path: Path) -> None:
    assert job_of(tmp_path).reference_log_probs is None
    job = job_of(tmp_path, LossConfig(objective="dpo"))
    again = job_of(tmp_path, LossConfig(objective="apo_zero"), learning_rate=1.0)
    assert job.reference_log_probs is not None
    assert job.reference_log_probs.parent == tmp_path / "shards" / "set" / "log-probs"
    assert (job.reference_log_probs, job.training_id) != (again.reference_log_probs, again.training_id)
    assert job.reference_log_probs == again.reference_log_probs


def test_a_training_that_is_held_to_its_base_model_needs_more_of_it_than_others(tmp_path: Path) -> None:
    held, preferred = (
        job_of(tmp_path, loss).reference_log_probs
        for loss in (LossConfig(kl_weight=0.1), LossConfig(objective="dpo"))
    )
    weaker = job_of(tmp_path, LossConfig(objective="unlikelihood", kl_weight=0.01)).reference_log_probs
    assert held is not None
    assert held != preferred
    assert held == weaker, "it is computed once"


@pytest.mark.parametrize("setting", [{"gamma_fade_tokens": 4}, {"kl_weight": 0.1}, {"negatives": "unique"}])
def test_what_holds_unchanged_tokens_is_part_of_the_id_of_trainings_that_read_it(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    for objective in ("figa", "unlikelihood"):
        usual, other = (LossConfig(objective=objective, **more) for more in ({}, setting))
        assert training_id(tmp_path, other) != training_id(tmp_path, usual)
    usual, other = (LossConfig(objective="sft_revised", **more) for more in ({}, setting))
    assert training_id(tmp_path, other) == training_id(tmp_path, usual)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gamma_fade_tokens": 0},
        {"gamma_fade_tokens": -1},
        {"kl_weight": -0.1},
        {"negatives": "some"},
        {"gamma": -1},
    ],
)
def test_a_setting_of_the_anchors_out_of_its_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        LossConfig.model_validate(wrong)


def test_methods_have_the_settings_of_their_papers_unless_others_are_given(tmp_path: Path) -> None:
    betas = {
        name: job_of(tmp_path, LossConfig(objective=name)).loss.preference_beta
        for name in ("dpo", "apo_zero", "simpo")
    }
    assert betas == {"dpo": 0.1, "apo_zero": 0.1, "simpo": 2.0}
    by_hand = LossConfig(objective="dpo", preference_beta=0.1, preference_margin=0.3)
    assert training_id(tmp_path, by_hand) == training_id(tmp_path, LossConfig(objective="dpo"))
    margin = LossConfig(objective="simpo", preference_margin=0.3)
    assert training_id(tmp_path, margin) != training_id(tmp_path, LossConfig(objective="simpo"))
    for loss in (LossConfig(preference_beta=0.3), LossConfig(preference_margin=0.3)):
        assert training_id(tmp_path, loss) == training_id(tmp_path), "FIGA reads neither"
