"""The servers of an engine, from the settings and the environment."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from figa_core.config import GenerationConfig, PipelineConfig, RewardConfig
from figa_core.errors import ConfigError
from figa_core.inference.copies import Copies
from figa_core.inference.servers import Servers
from tasks.server_settings import adapter_rank, copies_of, generating_engine, loads_adapter, servers_of
from tests.figa_core.config.other_values import NEEDED

URLS = ("http://one:8000", "http://two:8000")


def generation(**changes: Any) -> GenerationConfig:
    settings = {"model": "base", "engine": "server", "server": {"urls": URLS}} | changes
    return GenerationConfig.model_validate(settings)


def test_other_engines_have_no_servers_and_need_no_key() -> None:
    assert servers_of(generation(engine="vllm", server={"urls": URLS, "api_key_env": "NOT_THERE"})) is None


def test_the_settings_and_the_key_in_the_environment_make_the_servers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SERVERS_KEY", "secret-of-servers ")
    server = {
        "urls": URLS,
        "model": "served",
        "api_key_env": "SERVERS_KEY",
        "max_in_flight": 9,
        "timeout_s": 5,
        "patience_s": 7,
    }
    expected = Servers(URLS, "served", "secret-of-servers", 9, 5, 7, "generation.server")
    assert servers_of(generation(server=server)) == expected
    reward = RewardConfig.model_validate({"model": "r", "engine": "server", "server": server})
    found = servers_of(reward)
    assert found is not None
    assert found.section == "reward.server"


def test_a_missing_key_is_named() -> None:
    config = generation(server={"urls": URLS, "api_key_env": "NOT_THERE"})
    with pytest.raises(ConfigError, match=r"generation\.server\.api_key_env.*NOT_THERE"):
        servers_of(config)


def test_servers_sample_the_model_to_align_and_a_trained_one_is_sampled_here() -> None:
    assert generating_engine(generation(), Path("base")) == "server"
    assert generating_engine(generation(), Path("trained")) == "auto"
    assert generating_engine(generation(engine="vllm"), Path("trained")) == "vllm"


def test_servers_that_load_adapters_sample_those_of_the_model_to_align(tmp_path: Path) -> None:
    base, adapter, other = tmp_path / "base", tmp_path / "adapter", tmp_path / "other"
    for directory, of in ((adapter, base), (other, tmp_path / "another")):
        directory.mkdir()
        named = json.dumps({"base_model_name_or_path": str(of)})
        (directory / "adapter_config.json").write_text(named, encoding="utf-8")
        of.mkdir()
    loading = generation(model=base, server={"urls": URLS, "load_adapters": True})
    engines = {model: generating_engine(loading, model) for model in (base, adapter, other, tmp_path)}
    assert engines == {base: "server", adapter: "server", other: "auto", tmp_path: "auto"}
    assert loads_adapter(loading, adapter)
    assert not loads_adapter(loading, base)
    assert generating_engine(generation(model=base), adapter) == "auto"


def test_servers_of_the_run_sample_every_model() -> None:
    managed = generation(server={"managed": True})
    assert generating_engine(managed, Path("trained")) == generating_engine(managed, Path("base")) == "server"
    servers = servers_of(managed)
    assert servers is not None
    assert (servers.managed, servers.urls) == (True, ())


def test_servers_have_room_for_the_adapters_that_the_trainings_leave() -> None:
    def rank(lora: dict[str, Any], *methods: dict[str, Any]) -> int | None:
        sections = {"training": {"lora": lora}, "compare": {"methods": methods}}
        return adapter_rank(PipelineConfig.model_validate(copy.deepcopy(NEEDED) | sections))

    assert rank({}) is None
    assert rank({"rank": 16}) == 16
    assert rank({"rank": 16, "merge": True}) is None
    higher = {"objective": "figa", "lora": {"rank": 32}}
    assert rank({}, {"objective": "sft_revised"}, higher) == 32
    assert rank({"rank": 64}, higher) == 64


def test_the_copies_are_those_of_the_section() -> None:
    config = generation(vllm={"tensor_parallel": 2, "data_parallel": 4})
    assert copies_of(config) == Copies(2, 4, "generation.vllm")
    assert copies_of(RewardConfig.model_validate({"model": "r"})) == Copies(1, None, "reward.vllm")


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({"urls": ["http://one:8000", "http://one:8000/v1/"]}, "listed twice"),
        ({"urls": ["one:8000"]}, "http or https URL"),
        ({"urls": ["http://user:word@one:8000"]}, "no user, password"),
        ({"urls": ["http://one"], "api_key_env": "sk-abcdef"}, "seems to be a key itself"),
        ({"urls": ["http://one"], "max_in_flight": 0}, "greater than or equal to 1"),
    ],
)
def test_addresses_and_names_that_cannot_be_right_are_refused(server: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        generation(server=server)
