"""Settings from a file, and the messages about wrong ones."""

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from figa_core.config import PipelineConfig
from figa_core.config.file import load_config, parse_config
from figa_core.config.section import Section
from figa_core.config.storage import StorageConfig
from figa_core.errors import ConfigError

MINIMAL = """
[workspace]
path = "work"
[prompts]
path = "prompts.jsonl"
[generation]
model = "models/base"
[reward]
model = "/models/reward"
[revision]
model = "a-model"
"""


def load(tmp_path: Path, text: str = MINIMAL, overrides: dict[str, Any] | None = None) -> PipelineConfig:
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides)


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert config.workspace.path == tmp_path / "work"
    assert config.generation.model == tmp_path / "models" / "base"
    assert config.reward is not None
    assert config.reward.model == Path("/models/reward")


def test_the_defaults_are_the_papers_but_for_an_anchor_on_the_unchanged_tokens(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert (config.loss.alpha, config.loss.beta, config.loss.gamma) == (1.0, 0.5, 0.3)
    assert config.loss.negative_nll_max == 0.6
    assert config.filter.response_reward_below == 1.0
    assert (config.filter.reference_reward_above, config.filter.reward_gap_above) == (3.0, 3.5)


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, overrides={"revision": {"model": "another"}, "loss": {"gamma": 0.1}})
    assert (config.revision.model, config.loss.gamma) == ("another", 0.1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            "[training]\nlearning_rat = 1.0",
            "training.learning_rat: unknown setting; did you mean 'learning_rate'?",
        ),
        ("[trainin]\nseed = 1", "trainin: unknown setting; did you mean 'training'?"),
        ("[loss]\nzzz = 1", "loss.zzz: unknown setting; known here: objective, alpha"),
        ("[loss]\nalpha = -1", "loss.alpha: Input should be greater than or equal to 0 (got -1)"),
        ("[filter]\nreward_gap_above = 'q2'", "'q2' is neither a number nor a quantile"),
        ("[training]\nzero_stage = 4", "training.zero_stage"),
        ("[evaluation]\nbaselines = ['dpo?']", "evaluation.baselines.0"),
        ("[training]\nlearning_rate = inf", "training.learning_rate: Input should be a finite number"),
        ("[filter]\nreward_gap_above = nan", "filter.reward_gap_above"),
        (
            "[training.schedule]\nkind = 'square'",
            "training.schedule.kind: Input should be 'constant', 'linear' or 'cosine' (got 'square')",
        ),
        (
            "[training.schedule]\nwarmup_share = 1.5",
            "training.schedule.warmup_share: Input should be less than or equal to 1 (got 1.5)",
        ),
        (
            "[training.optimizer]\neps = 1",
            "training.optimizer.eps: unknown setting; did you mean 'epsilon'?",
        ),
        (
            "[training.deepspeed.zero_optimization]\nstage = 3\noverlap_comm = true",
            "cannot be set: stage (training.zero_stage decides it); overlap_comm (gradients that are still",
        ),
        (
            "[training.deepspeed.zero_optimization]\nnew_trick = true",
            "training.deepspeed.zero_optimization: these keys cannot be set: new_trick (not known here)",
        ),
        (
            "[training.deepspeed]\ngradient_accumulation_steps = 4",
            "training.deepspeed.gradient_accumulation_steps: unknown setting; known here: zero_optimization",
        ),
        (
            "[training]\nschedule = 'cosine'",
            "training.schedule: must be a table: a line [training.schedule], and its settings below it",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_the_remedy(tmp_path: Path, wrong: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, MINIMAL + wrong)
    assert message in str(caught.value)
    assert str(tmp_path / "run.toml") in str(caught.value)


def test_every_wrong_setting_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)3 setting\(s\) to fix.*prompts: missing.*revision: missing"):
        load(tmp_path, "[workspace]\npath='w'\n[generation]\nmodel='m'\n[reward]\nmodel='r'\n[loss]\nbet = 1")


def test_a_missing_file_and_text_that_is_not_toml_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot read"):
        load_config(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(tmp_path, "[workspace")


def test_a_field_that_is_missing_from_its_section_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"revision\.model: missing; add it"):
        load(tmp_path, MINIMAL.replace('model = "a-model"', ""))


def test_a_section_that_is_not_a_table_is_named_even_if_overridden(tmp_path: Path) -> None:
    for overrides in (None, {"loss": {"gamma": 0.1}}):
        with pytest.raises(ConfigError, match=r"loss: must be a table: a line \[loss\]"):
            load(tmp_path, "loss = 3\n" + MINIMAL, overrides)


def test_a_wrong_override_is_refused_like_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"loss\.gama: unknown setting; did you mean 'gamma'"):
        load(tmp_path, overrides={"loss": {"gama": 0.1}})


def test_a_tilde_in_a_path_is_the_users_home(tmp_path: Path) -> None:
    assert load(tmp_path, overrides={"workspace": {"path": "~/w"}}).workspace.path == Path.home() / "w"


def test_reading_a_mapping_leaves_it_as_it_was(tmp_path: Path) -> None:
    data = tomllib.loads(MINIMAL)
    before = copy.deepcopy(data)
    config = parse_config(data, source="a form", base=tmp_path)
    assert config == load(tmp_path)
    assert data == before


@pytest.mark.parametrize(
    "threshold", ["q", "q1.1", "q-0.1", "q.5", "Q0.5", "q0.5 ", "q1e-1", "median", "3", ""]
)
def test_a_wrong_quantile_is_named(tmp_path: Path, threshold: str) -> None:
    with pytest.raises(ConfigError, match=r"filter\.reward_gap_above: .* is neither a number nor a quantile"):
        load(tmp_path, overrides={"filter": {"reward_gap_above": threshold}})


@pytest.mark.parametrize("threshold", [-3, 0.5, "q0", "q0.25", "q1", "q1.0"])
def test_a_threshold_is_a_number_or_a_quantile(tmp_path: Path, threshold: float | str) -> None:
    config = load(tmp_path, overrides={"filter": {"response_reward_below": threshold}})
    assert config.filter.response_reward_below == threshold


def test_a_base_url_with_credentials_is_refused_without_repeating_them(tmp_path: Path) -> None:
    url = "https://user:hunter2@provider.example/v1"
    with pytest.raises(ConfigError, match=r"revision\.base_url") as caught:
        load(tmp_path, overrides={"revision": {"model": "m", "base_url": url}})
    assert "hunter2" not in str(caught.value)


def test_sections_are_frozen_and_small(tmp_path: Path) -> None:
    config = load(tmp_path)
    with pytest.raises(ValidationError):
        config.loss.alpha = 2.0  # pyright: ignore[reportAttributeAccessIssue]
    for name in PipelineConfig.model_fields:
        settings = [value for _, value in getattr(config, name) if not isinstance(value, Section)]
        assert len(settings) <= 13, name


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("runs/store", "must be a URL"),
        ("s3://", "must be a URL"),
        ("://bucket", "must be a URL"),
        ("ftp://me:a-secret@host/runs", "must not contain a password"),
        ("s3://KEY:a/secret@bucket/runs", "must not contain a password"),
        ("az://container/runs?sig=secret", "must not contain a password or a query"),
    ],
)
def test_the_address_of_a_store_that_cannot_be_used_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        StorageConfig(artifacts=url)


@pytest.mark.parametrize("url", ["s3://bucket/runs", "abfs://container@account/runs", "file:///mnt/runs"])
def test_the_address_of_a_store_is_accepted(url: str) -> None:
    assert StorageConfig(artifacts=url).artifacts == url


def test_the_password_in_the_address_of_a_store_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"storage\.artifacts: must not contain a password") as caught:
        load(tmp_path, overrides={"storage": {"artifacts": "ftp://me:a-secret@host/runs"}})
    assert "a-secret" not in str(caught.value)
