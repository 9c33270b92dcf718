"""What a model thinks is kept apart from its answers, from the samples to the shards."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest

from figa_core.chat.format import ChatFormat, load_chat_format
from figa_core.chat.thinking import thoughts_of
from figa_core.config import PipelineConfig
from figa_core.errors import EvaluationError
from figa_core.inference import engine as registry
from figa_core.inference.engine import TRANSFORMERS, Engine, Generating, open_engine, register_engine
from figa_core.inference.engines import Engines
from figa_core.ports import Generation, GenerationRequest, Generator, RowFailure
from figa_core.records import FinishReason, Split
from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.storage.responses import ALL_THOUGHT, count_thoughts
from tasks.chat_formats import generation_chat, thinking_line
from tasks.evaluate import held_out_sampling
from tasks.generate import Sampling, generate, generator_id
from tasks.stored_thoughts import check_comparable
from tests.figa_core.shards.test_shards import read

from .conftest import RUN, Chain, MakeChain, with_template

THOUGHT = "<think>is it</think>\n\n"
SWITCH = "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"


class Thinker(Engine):
    """The sandbox's answers, each after a thought; every fourth sample never ends its thought."""

    model: Path
    chat: ChatFormat

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._inner = open_engine(TRANSFORMERS, tell)

    def generator(self, settings: Generating, scratch: Path) -> "Thinker":
        self._drawn: Generator = self._inner.generator(settings, scratch)
        return self

    def generate(self, requests: Iterable[GenerationRequest]) -> Iterator[list[Generation | RowFailure]]:
        thought = self.chat.template_ids(THOUGHT)
        for batch in self._drawn.generate(requests):
            yield [
                Generation(row.request_id, thought[:-6], FinishReason.LENGTH)
                if number % 4 == 0
                else Generation(row.request_id, thought + row.token_ids, row.finish_reason)
                for number, row in enumerate(batch)
                if isinstance(row, Generation)
            ]


@pytest.fixture
def thinking(
    make_chain: MakeChain,
    teacher: TeacherProcess,
    sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Chain]:
    """A chain of a model that thinks, and whose template can keep it from that."""
    template = (sandbox.base_model / "chat_template.jinja").read_text().rstrip("\n")
    model = with_template(
        sandbox.base_model,
        template + "{# <think> #}" + "{% if add_generation_prompt %}" + SWITCH + "{% endif %}",
        tmp_path / "thinker",
    )
    monkeypatch.setattr(registry, "_factories", dict(registry._factories))
    monkeypatch.setattr(Thinker, "chat", load_chat_format(model), raising=False)
    register_engine("thinker", Thinker)
    chain = make_chain(teacher.base_url)
    with_engine = {"model": model, "engine": "thinker"}
    chain.generation = chain.generation.model_copy(update=with_engine)
    chain.sampling = Sampling(model, Split.TRAIN, temperature=1.0, samples=1)
    chain.generator = generator_id(chain.workspace, chain.generation, chain.sampling)
    with Engines() as chain.engines:
        yield chain


async def test_thoughts_are_stored_shown_to_nobody_and_put_back_before_the_answers(thinking: Chain) -> None:
    thinking.up_to_filter()
    database = thinking.workspace.database
    rows = database.fetch("SELECT text, thought, thought_ids, token_ids FROM responses")
    assert not any("think" in text for text, *_ in rows)
    found = count_thoughts(database, RUN, thinking.generator)
    assert found.with_thought == found.responses == len(rows)
    empty = database.fetch(
        "SELECT kept, keep_reason FROM pairs JOIN responses USING (response_id) WHERE text = ''"
    )
    assert empty == [(False, f"no reward: {ALL_THOUGHT}")] * found.all_thought != []

    weighed = await thinking.from_revise_to_weigh()
    pairs = read(weighed.directory)
    thought = Thinker.chat.template_ids(THOUGHT)
    assert pairs
    assert all(pair.prompt_ids[-len(thought) :] == thought for pair in pairs)
    plain = generation_chat(thinking.generation)
    assert all("think" not in plain.decode_marked(pair.revision_ids) for pair in pairs)
    assert all("think" not in plain.decode_marked(pair.response_ids) for pair in pairs)

    thinking.generation = thinking.generation.model_copy(update={"thinking": "cut"})
    cut = thinking.weigh()
    assert cut.shard_set_id != weighed.shard_set_id
    without = read(cut.directory)
    assert [p.prompt_ids + thought for p in without] == [p.prompt_ids for p in pairs]


def test_off_reaches_the_template_and_is_another_generator(thinking: Chain) -> None:
    off = thinking.generation.model_copy(update={"thinking": "off"})
    assert generation_chat(off).variables == {"enable_thinking": False}
    assert generator_id(thinking.workspace, off, thinking.sampling) != thinking.generator
    cut = thinking.generation.model_copy(update={"thinking": "cut"})
    assert generator_id(thinking.workspace, cut, thinking.sampling) == thinking.generator, "the same samples"


def test_it_is_said_how_the_model_thinks_and_what_is_done(thinking: Chain) -> None:
    found = thoughts_of(generation_chat(thinking.generation))
    assert found is not None
    line = thinking_line(thinking.generation, found)
    assert line.startswith("thinker thinks before it answers (<think> … </think> in its chat template")
    assert "put back in front of them" in line


def test_answers_of_an_earlier_version_with_thoughts_in_them_are_not_compared_with_others(
    thinking: Chain,
) -> None:
    thinking.import_prompts()
    config = PipelineConfig.model_validate(
        {
            "workspace": {"path": thinking.workspace.directory},
            "prompts": thinking.prompts,
            "generation": thinking.generation,
            "reward": thinking.reward,
            "revision": thinking.revision,
        }
    )
    sampling = held_out_sampling(config.evaluation, thinking.generation.model)
    base = generator_id(thinking.workspace, thinking.generation, sampling)
    compared = partial(check_comparable, thinking.workspace, RUN, config)
    generate.fn(thinking.workspace, RUN, thinking.generation, sampling, 200, engines=thinking.engines)
    compared({"FIGA": "trained"})  # all are of this version

    database = thinking.workspace.database
    database.execute(
        "UPDATE responses SET token_ids = list_concat(coalesce(thought_ids, []), token_ids), thought = NULL "
        f"WHERE generator_id = '{base}'"
    )
    compared({})  # alone it is what it was
    with pytest.raises(EvaluationError, match=r"held-out answers were stored by an earlier .* those of FIGA"):
        compared({"FIGA": "trained"})
    database.execute(
        "INSERT INTO responses BY NAME SELECT * REPLACE ('old' || response_id AS response_id, "
        f"'trained' AS generator_id) FROM responses WHERE generator_id = '{base}'"
    )
    compared({"FIGA": "trained"})  # all are of the earlier version
