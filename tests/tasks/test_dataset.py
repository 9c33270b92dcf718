"""From a file of prompts to shards, every part real: sandbox models, the teacher over HTTP, DuckDB."""

import json
from pathlib import Path
from typing import Any

import pytest

from figa_core.config import FilterConfig
from figa_core.errors import ConfigError, NothingToDoError
from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from tasks.import_prompts import import_prompts
from tasks.revise import revise
from tasks.workspace import Workspace
from tests.figa_core.shards.test_shards import read

NOBODY = "http://127.0.0.1:9/v1"
KEY_VARIABLE = "FIGA_TEST_KEY"


async def test_prompts_become_shards_and_a_second_run_repeats_no_call(
    make_chain: Any, workspace: Workspace, sandbox: Sandbox, teacher: TeacherProcess
) -> None:
    chain = make_chain(teacher.base_url)
    chain.up_to_scores()
    kept = chain.filter()
    first = await chain.from_revise_to_weigh()

    pairs = read(first.directory)
    assert 0 < len(pairs) == first.counts.n_out <= kept
    assert all(len(p.revision_ids) == len(p.revision_classes) for p in pairs)
    calls = teacher.requests()
    assert calls == kept

    chain.up_to_scores()
    chain.filter()
    assert await chain.from_revise_to_weigh() == first
    assert teacher.requests() == calls


async def test_held_out_prompts_reach_neither_the_teacher_nor_the_shards(
    make_chain: Any, workspace: Workspace, sandbox: Sandbox, teacher: TeacherProcess
) -> None:
    chain = make_chain(teacher.base_url)
    chain.up_to_scores()
    with workspace.database.open() as connection:
        train = connection.execute("SELECT count(*) FROM prompts WHERE split = 'train'").fetchone()
    assert train is not None
    assert chain.filter() <= train[0] < 40


async def test_bad_rows_are_recorded_with_their_reason_and_stop_nothing(
    make_chain: Any, workspace: Workspace, sandbox: Sandbox, tmp_path: Path
) -> None:
    lines = sandbox.prompts.read_text().splitlines()[:3]
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join([*lines, "{broken", lines[0], '{"prompt": "  "}', '{"question": "x"}']))
    chain = make_chain(NOBODY, path)

    result = import_prompts.fn(workspace, chain.run_id, chain.prompts, sandbox.base_model)

    assert (result.n_in, result.n_out) == (7, 3)
    with workspace.database.open() as connection:
        rows = connection.execute("SELECT source_row, reason FROM bad_rows ORDER BY 1").fetchall()
    assert [row for row, _ in rows] == [4, 5, 6, 7]
    assert rows[1][1] == "duplicate of row 1"


def test_a_prompt_longer_than_the_limit_is_left_out_with_both_lengths(
    make_chain: Any, workspace: Workspace, sandbox: Sandbox, tmp_path: Path
) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "short"}\n' + json.dumps({"prompt": "word " * 300}))
    chain = make_chain(NOBODY, path)
    prompts = chain.prompts.model_copy(update={"max_prompt_tokens": 64})

    result = import_prompts.fn(workspace, chain.run_id, prompts, sandbox.base_model)

    assert (result.n_out, result.reasons) == (1, {"longer than prompts.max_prompt_tokens": 1})
    with workspace.database.open() as connection:
        [(row, reason)] = connection.execute("SELECT source_row, reason FROM bad_rows").fetchall()
    assert row == 2
    assert "tokens, more than prompts.max_prompt_tokens = 64" in reason


@pytest.mark.parametrize("batch_rows", [1, 2, 1000])
def test_a_duplicate_names_its_first_row_in_whatever_batch_and_even_if_that_is_too_long(
    make_chain: Any, workspace: Workspace, sandbox: Sandbox, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, batch_rows: int,
) -> None:  # fmt: skip
    monkeypatch.setattr("tasks.import_prompts._BATCH_ROWS", batch_rows)
    path = tmp_path / "prompts.jsonl"
    rows = ["one", "word " * 300, "two", "one", "{broken", "word " * 300, "one", "two"]
    path.write_text("\n".join(row if row == "{broken" else json.dumps({"prompt": row}) for row in rows))
    chain = make_chain(NOBODY, path)
    prompts = chain.prompts.model_copy(update={"max_prompt_tokens": 64})
    reasons = {"longer than prompts.max_prompt_tokens": 1, "duplicate": 4, "not valid JSON": 1}

    for _ in range(2):  # a second time, every prompt is in the database already
        result = import_prompts.fn(workspace, chain.run_id, prompts, sandbox.base_model)
        assert (result.n_in, result.n_out, result.reasons) == (8, 2, reasons)
    found = dict(workspace.database.fetch("SELECT source_row, reason FROM bad_rows"))
    assert {row: reason for row, reason in found.items() if "duplicate" in reason} == {
        4: "duplicate of row 1",
        6: "duplicate of row 2",
        7: "duplicate of row 1",
        8: "duplicate of row 3",
    }
    assert not workspace.scratch("import").exists()


def test_a_file_without_one_usable_row_is_an_error_with_the_reasons(
    make_chain: Any, workspace: Workspace, sandbox: Sandbox, tmp_path: Path
) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": ""}\n')
    chain = make_chain(NOBODY, path)
    with pytest.raises(NothingToDoError, match="the prompt is empty"):
        import_prompts.fn(workspace, chain.run_id, chain.prompts, sandbox.base_model)


def test_thresholds_that_keep_nothing_say_so_with_the_reasons(
    make_chain: Any, workspace: Workspace, sandbox: Sandbox
) -> None:
    chain = make_chain(NOBODY)
    chain.up_to_scores()
    with pytest.raises(NothingToDoError, match="response_reward_below"):
        chain.filter(FilterConfig(response_reward_below=-1e9))


async def test_a_missing_key_is_named_before_anything_is_sent(
    make_chain: Any,
    workspace: Workspace,
    sandbox: Sandbox,
    teacher: TeacherProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain = make_chain(teacher.base_url)
    chain.up_to_scores()
    chain.filter()
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(ConfigError, match=KEY_VARIABLE):
        await revise(workspace, chain.run_id, chain.sections)
    assert teacher.requests() == 0
