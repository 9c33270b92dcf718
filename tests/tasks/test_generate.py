"""Responses from generated ids, and prompts that cannot be answered."""

from pathlib import Path

import pytest

from figa_core import ids
from figa_core.config import GenerationConfig
from figa_core.errors import EngineError
from figa_core.inference.engines import Engines
from figa_core.ports import Generation
from figa_core.records import FinishReason, Message, Prompt, Split
from figa_core.sandbox.build import Sandbox
from figa_core.storage.prompts import save_prompts
from tasks.generate import Sampling, _response, generate
from tasks.results import StageCounts
from tasks.workspace import Workspace
from tests.figa_core.chat.templates.styles import chat_format

from .conftest import NO_SYSTEM, RUN, with_template


def test_what_comes_before_the_stop_token_is_not_part_of_the_answer_unless_it_was_cut() -> None:
    """Llama 2 ends its turn with a space and ``</s>``; the engine leaves out only the stop token."""
    chat = chat_format("llama-2")
    lead = chat.end_of_turn_ids[:-1]
    assert lead
    answer = chat.response_ids("on its way.")
    ended, cut = (
        _response(chat, None, (), Generation("prompt#0", answer + lead, finish), "generator")
        for finish in (FinishReason.STOP, FinishReason.LENGTH)
    )
    assert (ended.text, ended.token_ids) == ("on its way.", answer)
    assert cut.token_ids == answer + lead


@pytest.mark.parametrize("after", ["", "more"])
def test_a_text_that_ends_a_response_is_cut_as_a_whole_if_an_end_of_turn_begins_like_it(after: str) -> None:
    """Some engines go on for a few tokens after it, and others do not: the response is the same."""
    chat = chat_format("chatml")
    newline = chat.response_ids("a\n")[-1:]
    assert chat.decode(newline) == "\n"
    chat.end_of_turn_ids = (*newline, chat.end_of_turn_ids[-1])
    drawn = chat.response_ids("on its way.") + 2 * newline + chat.response_ids(after)
    response = _response(chat, None, ["\n\n"], Generation("prompt#0", drawn, FinishReason.STOP), "generator")
    assert (response.text, response.finish_reason) == ("on its way.", FinishReason.STOP)
    assert response.token_ids == chat.response_ids("on its way.")


def draw(
    workspace: Workspace, engines: Engines, model: Path, prompts: list[Prompt], samples: int
) -> StageCounts:
    save_prompts(workspace.database, RUN, prompts)
    config = GenerationConfig(model=model, engine="transformers", max_tokens=2)
    sampling = Sampling(model, Split.TRAIN, temperature=1.0, samples=samples)
    return generate.fn(workspace, RUN, config, sampling, 64, engines=engines)


def prompt(*messages: Message) -> Prompt:
    return Prompt(ids.prompt_id(messages), messages, Split.TRAIN)


def test_a_prompt_that_alone_cannot_be_answered_is_stored_with_the_reason(
    workspace: Workspace, engines: Engines, sandbox: Sandbox, tmp_path: Path
) -> None:
    model = with_template(sandbox.base_model, NO_SYSTEM, tmp_path / "model")
    refused = prompt(Message("system", "Be brief."), Message("user", "Where?"))
    prompts = [refused, *(prompt(Message("user", f"question {i}")) for i in range(11))]

    result = draw(workspace, engines, model, prompts, samples=2)
    assert (result.n_in, result.n_out) == (24, 22)
    assert result.reasons == {"the chat template refuses these messages: no system role": 2}
    rows = workspace.database.fetch("SELECT prompt_id, sample_index FROM generation_failures")
    assert sorted(rows) == [(refused.prompt_id, 0), (refused.prompt_id, 1)]
    assert draw(workspace, engines, model, prompts, samples=2).n_in == 0


def test_many_prompts_that_cannot_be_answered_end_the_stage_and_are_tried_again(
    workspace: Workspace, engines: Engines, sandbox: Sandbox, tmp_path: Path
) -> None:
    model = with_template(sandbox.base_model, NO_SYSTEM, tmp_path / "model")
    prompts = [prompt(Message("system", f"Be brief {i}."), Message("user", "Where?")) for i in range(3)]
    for _ in range(2):
        with pytest.raises(EngineError, match="3 of 3 samples could not be drawn: 3 × the chat template"):
            draw(workspace, engines, model, prompts, samples=1)
