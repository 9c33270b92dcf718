"""An engine that is added from outside, and the size of a stage's work."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from figa_core.config import GenerationConfig, PipelineConfig, RewardConfig
from figa_core.config.rows import SamplingConfig
from figa_core.errors import EngineError
from figa_core.inference import engine as registry
from figa_core.inference.engine import Engine, Generating, Scoring, check_engine, open_engine, register_engine
from figa_core.inference.engines import Engines
from figa_core.ports import Generation, GenerationRequest, ScoringRequest
from figa_core.records import FinishReason
from tasks.engines import sampled_length
from tests.tasks.conftest import Chain


class Parrot(Engine):
    """Gives the same answer to every prompt, and rates an answer by its length."""

    closed = 0

    def __init__(self, tell: Callable[[str], None]) -> None:
        tell("the parrot wakes up")

    def generator(self, settings: Generating, scratch: Path) -> "Parrot":
        return self

    def scorer(self, settings: Scoring, scratch: Path) -> "Parrot":
        return self

    def generate(self, requests: Iterable[GenerationRequest]) -> Iterator[list[Generation]]:
        for request in requests:
            yield [Generation(request.request_id, request.prompt_ids[:3], FinishReason.STOP)]

    def score(self, requests: Iterable[ScoringRequest]) -> Iterator[list[tuple[str, float]]]:
        for request in requests:
            yield [(request.subject_id, float(len(request.token_ids)))]

    def close(self) -> None:
        Parrot.closed += 1


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(registry, "_factories", dict(registry._factories))
    monkeypatch.setattr(Parrot, "closed", 0)
    register_engine("parrot", Parrot)
    return "parrot"


def test_an_engine_that_does_not_know_a_setting_of_sampling_refuses_it(parrot: str, chain: Chain) -> None:
    sampling = SamplingConfig(top_k=5, stop=("User:",))
    chain.generation = GenerationConfig(model=chain.sampling.model, engine=parrot, sampling=sampling)
    chain.import_prompts()
    words = r"'parrot' does not know generation\.sampling\.stop, generation\.sampling\.top_k, and would"
    with Engines() as chain.engines, pytest.raises(EngineError, match=words):
        chain.generate()
    with pytest.raises(EngineError, match="'parrot' does not know"):
        check_engine(parrot, ["top_k"])
    check_engine(parrot)
    check_engine("transformers", ["top_k", "min_p", "repetition_penalty", "stop"])


def test_an_engine_from_outside_generates_and_scores_by_its_name(parrot: str, chain: Chain) -> None:
    chain.generation = GenerationConfig(model=chain.sampling.model, engine=parrot, max_tokens=24)
    chain.reward = RewardConfig(model=chain.reward.model, engine=parrot)
    told: list[str] = []
    with Engines(told.append) as chain.engines:
        chain.import_prompts()
        assert chain.generate().n_out == chain.score_responses().n_out > 0
    assert told == ["the parrot wakes up"] * 2
    assert Parrot.closed == 2


def test_the_form_offers_every_engine_and_the_configuration_takes_no_other(parrot: str) -> None:
    offered = GenerationConfig.model_json_schema()["properties"]["engine"]
    assert offered["enum"] == ["auto", "vllm", "transformers", "server", "parrot"]
    assert "parrot" in str(PipelineConfig.model_json_schema())
    with pytest.raises(ValidationError, match="Input should be 'auto', 'vllm', '"):
        GenerationConfig(model=Path("model"), engine="magic")


def test_an_engine_is_checked_by_opening_and_closing_it(parrot: str) -> None:
    check_engine("auto")
    check_engine(parrot)
    assert Parrot.closed == 1
    with pytest.raises(EngineError, match="no engine is called 'magic'"):
        open_engine("magic")


def test_the_length_of_the_first_requests_is_measured_and_none_is_lost() -> None:
    requests = [ScoringRequest(str(n), (0,) * (n % 4)) for n in range(1000)]
    mean, same = sampled_length(iter(requests), lambda request: request.token_ids)
    assert (mean, list(same)) == (1.5, requests)
    mean, same = sampled_length(iter(()), lambda request: request)
    assert (mean, list(same)) == (0.0, [])
