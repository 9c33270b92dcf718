"""prefect.yaml fits the flows, the presets and the automations."""

import copy
import inspect
import tomllib
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import pytest
import yaml
from prefect.exceptions import ParameterTypeError
from prefect.utilities.schema_tools.validation import validate

from deployments.automations import MISSED_S, dead_runs, runs_not_begun
from deployments.deploy import FILE, ROOT
from deployments.pools import Pool
from figa_core.config import PipelineConfig
from figa_core.config.section import Section, is_optional
from figa_core.sandbox.build import Sandbox
from flows.build_dataset import build_dataset
from flows.compare_methods import compare_methods
from flows.evaluate_model import evaluate_model
from flows.figa import figa
from flows.judge_models import judge_models
from flows.revise_pending import retry_revisions
from flows.server.names import FLOWS as FLOW_NAMES
from flows.server.names import HEARTBEAT_S, SERVE_MODEL, TRAIN_BY_REWARDS, TRAIN_MODEL, TRAIN_RANK
from flows.serving import serve_model
from flows.shards import generate_shard, score_shard
from flows.study_reward import study_reward
from flows.train_by_rewards import train_by_rewards
from flows.train_model import train_model
from flows.train_rank import train_rank

FLOWS = {
    each.name: each
    for each in (
        figa,
        build_dataset,
        retry_revisions,
        train_model,
        train_rank,
        train_by_rewards,
        evaluate_model,
        judge_models,
        generate_shard,
        score_shard,
        serve_model,
        compare_methods,
        study_reward,
    )
}
WORK_FOR_A_RUN = {"generate-shard", "score-shard", "serve-model"}
DEPLOYMENTS: dict[str, dict[str, Any]] = {
    each["name"]: each for each in yaml.safe_load(FILE.read_text())["deployments"]
}


def form_with_three_fields(sandbox: Sandbox) -> dict[str, Any]:
    config = copy.deepcopy(DEPLOYMENTS["figa"]["parameters"]["config"])
    config["prompts"]["path"] = str(sandbox.prompts)
    config["generation"]["model"] = str(sandbox.base_model)
    config["reward"]["model"] = str(sandbox.reward_model)
    return config


def test_every_flow_has_its_deployment_of_the_same_name() -> None:
    assert set(DEPLOYMENTS) == set(FLOWS)
    assert {TRAIN_MODEL, TRAIN_RANK, TRAIN_BY_REWARDS, SERVE_MODEL} <= {
        f"{name}/{name}" for name in DEPLOYMENTS
    }
    for name, deployment in DEPLOYMENTS.items():
        path, _, function = deployment["entrypoint"].partition(":")
        flow = FLOWS[name]
        assert (ROOT / path).resolve() == Path(inspect.unwrap(flow.fn).__code__.co_filename).resolve()
        assert flow.fn.__name__ == function
        worker = f"`python -m deployments.worker {deployment['work_pool']['name']}`"
        assert f'If a run stays "Late", the pool has no worker: {worker}' in deployment["description"]
        assert "figa" in deployment["tags"]
        assert deployment["enforce_parameter_schema"] is True
        assert deployment["work_pool"]["name"] in list(Pool)


def test_only_what_runs_models_is_on_the_gpu_pool() -> None:
    on_gpu = {name for name, each in DEPLOYMENTS.items() if each["work_pool"]["name"] == Pool.GPU}
    assert on_gpu == {"train-model", "train-rank", "train-by-rewards", "evaluate-model", *WORK_FOR_A_RUN}


def test_one_run_of_each_at_a_time_except_those_that_share_the_work_of_one() -> None:
    limits = {name: each.get("concurrency_limit", {}).get("limit") for name, each in DEPLOYMENTS.items()}
    assert {name for name, limit in limits.items() if limit is None} == {"train-rank", *WORK_FOR_A_RUN}
    assert set(limits.values()) == {None, 1}


def test_the_nightly_schedule_is_off() -> None:
    [schedule] = DEPLOYMENTS["figa"]["schedules"]
    assert schedule["active"] is False


def test_the_defaults_are_the_preset_without_the_users_three_paths() -> None:
    preset = tomllib.loads((FILE.parent / "presets" / "openai.toml").read_text(encoding="utf-8"))
    for section, field in (("prompts", "path"), ("generation", "model"), ("reward", "model")):
        del preset[section][field]
    config = copy.deepcopy(DEPLOYMENTS["figa"]["parameters"]["config"])
    assert config["workspace"].pop("lease_timeout_s") > 0
    for engine in ("generation", "reward"):
        assert config[engine].pop("engine") == "auto"
    assert config == preset
    for name in ("build-dataset", "compare-methods", "study-reward"):
        assert DEPLOYMENTS[name]["parameters"] == DEPLOYMENTS["figa"]["parameters"]


def test_a_run_starts_with_three_fields_filled_in(sandbox: Sandbox) -> None:
    parameters = figa.validate_parameters({"config": form_with_three_fields(sandbox)})
    assert isinstance(parameters["config"], PipelineConfig)
    with pytest.raises(ParameterTypeError, match=r"config\.prompts\.path"):
        figa.validate_parameters(DEPLOYMENTS["figa"]["parameters"])


def test_the_form_takes_none_for_every_setting_that_can_be_switched_off(sandbox: Sandbox) -> None:
    config = form_with_three_fields(sandbox)
    switched_off = []
    for section, field in PipelineConfig.model_fields.items():
        if section == "rewards":  # a list of tables
            continue
        kinds = get_args(field.annotation) or (field.annotation,)
        [kind] = [each for each in kinds if isinstance(each, type) and each is not NoneType]
        assert issubclass(kind, Section)
        for name, setting in kind.model_fields.items():
            if is_optional(setting):
                config.setdefault(section, {})[name] = "none"
                switched_off.append((section, name))
    # What the server does with a form's values (`enforce_parameter_schema`), then what the flow does.
    assert not validate({"config": config}, figa.parameters.model_dump_for_openapi())
    parameters = figa.validate_parameters({"config": config})
    for section, name in switched_off:
        assert getattr(getattr(parameters["config"], section), name) is None


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("generation", "temperature", -1),
        ("generation", "engine", "magic"),
        ("revision", "requests_per_minute", 0),
        ("training", "zero_stage", 4),
        ("training", "processes", "two"),
        ("evaluation", "bananas", 1),
    ],
)
def test_the_flow_refuses_what_is_out_of_bounds(
    sandbox: Sandbox, section: str, field: str, value: object
) -> None:
    config = form_with_three_fields(sandbox)
    config[section][field] = value
    with pytest.raises(ParameterTypeError, match=rf"config\.{section}\.{field}"):
        figa.validate_parameters({"config": config})


def test_every_field_of_the_form_says_what_it_is() -> None:
    for flow in FLOWS.values():
        schema = flow.parameters.model_dump()
        for name, field in schema["properties"].items():
            assert field.get("description"), f"{flow.name}: {name}"
        for section, definition in schema["definitions"].items():
            for name, field in definition.get("properties", {}).items():
                assert field.get("description") or "$ref" in field, f"{section}.{name}"


def test_the_heartbeat_interval_fits_the_automation() -> None:
    for deployment in DEPLOYMENTS.values():
        beat = deployment["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]
        assert int(beat) == HEARTBEAT_S
    assert 2 * HEARTBEAT_S < MISSED_S <= 120 - 20


def test_the_automations_do_not_affect_other_flows() -> None:
    assert set(FLOW_NAMES) == set(FLOWS)
    for automation in (dead_runs(), runs_not_begun()):
        related = automation.model_dump()["trigger"]["match_related"]
        assert related == {"prefect.resource.role": "flow", "prefect.resource.name": list(FLOW_NAMES)}
