"""The import stage leaves out only the prompts that one of the templates refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from figa_core.config import GenerationConfig, PromptsConfig, RewardConfig
from figa_core.errors import InputError, NothingToDoError
from figa_core.sandbox.build import Sandbox
from tasks.import_prompts import import_prompts
from tasks.results import StageCounts
from tasks.workspace import Workspace

from .conftest import NO_SYSTEM, RUN, with_template

WITHOUT_SYSTEM = (
    "{% for m in messages if m.role in ('user', 'assistant') %}"
    "{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
ASKED = [{"prompt": f"question {i}"} for i in range(40)]
SYSTEM = {"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}]}


def do_import(
    workspace: Workspace, rows: list[Any], model: Path, reward_model: Path | None = None
) -> StageCounts:
    path = workspace.directory / "prompts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    config = PromptsConfig(path=path, held_out_share=0.0)
    rewards = [] if reward_model is None else [RewardConfig(model=reward_model)]
    return import_prompts.fn(workspace, RUN, config, GenerationConfig(model=model), *rewards)


def bad_rows(workspace: Workspace) -> dict[int, str]:
    return dict(workspace.database.fetch("SELECT source_row, reason FROM bad_rows"))


def imported(workspace: Workspace) -> int:
    return workspace.database.fetch("SELECT count(*) FROM run_prompts WHERE run_id = $run", run=RUN)[0][0]


def test_a_prompt_that_the_models_template_refuses_is_left_out(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path
) -> None:
    model = with_template(sandbox.base_model, NO_SYSTEM, tmp_path / "model")
    result = do_import(workspace, [*ASKED, SYSTEM], model)
    assert (result.n_in, result.n_out) == (41, 40)
    assert result.reasons == {"the chat template refuses these messages": 1}
    assert "no system role" in bad_rows(workspace)[41]


def test_a_prompt_of_which_the_template_drops_a_message_is_left_out(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path
) -> None:
    model = with_template(sandbox.base_model, WITHOUT_SYSTEM, tmp_path / "model")
    do_import(workspace, [*ASKED, SYSTEM], model)
    assert bad_rows(workspace) == {41: "the chat template leaves out what role 'system' says"}


def test_a_prompt_that_the_reward_models_template_refuses_costs_no_generation(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path
) -> None:
    reward = with_template(sandbox.reward_model, NO_SYSTEM, tmp_path / "reward")
    result = do_import(workspace, [*ASKED, SYSTEM], sandbox.base_model, reward)
    assert result.reasons == {"the reward model's chat template refuses these messages": 1}
    assert imported(workspace) == 40


def test_a_reward_model_that_refuses_many_prompts_ends_the_import(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path
) -> None:
    reward = with_template(sandbox.reward_model, NO_SYSTEM, tmp_path / "reward")
    rows = [SYSTEM | {"prompt": [*SYSTEM["prompt"], {"role": "user", "content": str(i)}]} for i in range(7)]
    with pytest.raises(
        InputError, match=r"reward\.model.*7 of 47 prompts \(rows 1, 2, 3, 4, 5 …\): no system role"
    ):
        do_import(workspace, [*rows, *ASKED], sandbox.base_model, reward)


def test_rows_that_an_earlier_version_read_differently_are_corrected(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A row kept without its tool call, one that the template now refuses, and a good one recorded as bad."""
    model = with_template(sandbox.base_model, NO_SYSTEM, tmp_path / "model")
    do_import(workspace, [*ASKED, {"prompt": "call"}, SYSTEM], sandbox.base_model)
    with workspace.database.transaction() as connection:
        connection.execute("INSERT INTO bad_rows VALUES (?, 1, 'not valid JSON: a byte order mark')", [RUN])

    for _ in range(2):
        do_import(workspace, [*ASKED, {"prompt": None}, SYSTEM], model)
        assert imported(workspace) == len(ASKED)
        assert sorted(bad_rows(workspace)) == [41, 42]


def test_a_file_without_rows_and_one_without_usable_rows_are_told_apart(
    workspace: Workspace, sandbox: Sandbox
) -> None:
    with pytest.raises(NothingToDoError, match="the file has no rows"):
        do_import(workspace, [], sandbox.base_model)
    with pytest.raises(NothingToDoError, match="none of its 2 rows can be used: 2 × the prompt is empty"):
        do_import(workspace, [{"prompt": ""}, {"prompt": " "}], sandbox.base_model)


def test_a_row_whose_tools_the_template_does_not_print_is_a_bad_row(
    workspace: Workspace, sandbox: Sandbox
) -> None:
    tools = {"prompt": "Where is it?", "tools": [{"name": "track"}]}
    do_import(workspace, [*ASKED, tools], sandbox.base_model)
    assert bad_rows(workspace) == {41: "the chat template leaves out the tools"}
