"""From a file of prompts to shards, every part real: sandbox models, the teacher over HTTP, DuckDB."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from figa_core.config import FilterConfig
from figa_core.errors import ConfigError, NothingToDoError
from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.storage import people
from figa_core.storage.people import EXCLUDED
from tests.figa_core.shards.test_shards import read

from .conftest import KEY_VARIABLE, NOBODY, Chain, MakeChain

LONG = "word " * 300


async def test_prompts_become_shards_and_a_second_run_repeats_no_call(
    make_chain: MakeChain, teacher: TeacherProcess
) -> None:
    chain = make_chain(teacher.base_url)
    kept = chain.up_to_filter()
    first = await chain.from_revise_to_weigh()

    pairs = read(first.directory)
    assert 0 < len(pairs) == first.counts.n_out <= kept
    assert all(len(p.revision_ids) == len(p.revision_classes) for p in pairs)
    assert teacher.requests() == kept

    chain.up_to_filter()
    assert await chain.from_revise_to_weigh() == first
    assert teacher.requests() == kept

    best = chain.weigh(best_of=1)
    assert replace(best, with_best=None) == first, "the set for other objectives stays the same"
    assert best.with_best is not None
    assert [best.shards_for(name) for name in ("figa", "sft_best")] == [first.directory, best.with_best]
    # Of one sample, the best is the response itself.
    assert read(best.with_best) == [replace(pair, best_ids=pair.response_ids) for pair in pairs]


@pytest.mark.slow
async def test_people_s_decisions_make_another_shard_set_and_taking_them_back_the_first_one(
    make_chain: MakeChain, teacher: TeacherProcess
) -> None:
    chain = make_chain(teacher.base_url)
    chain.up_to_filter()
    first = await chain.from_revise_to_weigh()
    database, asked = chain.workspace.database, teacher.requests()
    out, corrected, *_ = [pair.pair_id for pair in read(first.directory)]

    people.exclude(database, out, "ada", "wrong")
    people.correct(database, corrected, "Quite another answer.", "ada", based_on=corrected)
    chain.filter()
    second = await chain.from_revise_to_weigh()
    assert second.shard_set_id != first.shard_set_id
    assert second.counts.reasons[EXCLUDED] == 1
    assert second.counts.n_in == first.counts.n_in
    new = people.shown_pair(database, corrected).current_id
    ids_now = {pair.pair_id for pair in read(second.directory)}
    assert {out, corrected}.isdisjoint(ids_now)
    assert new in ids_now
    assert len(ids_now) == first.counts.n_out - 1

    people.include(database, out)
    text = people.shown_pair(database, corrected).revised
    people.correct(database, corrected, text, "bob", based_on=new)
    chain.filter()
    assert await chain.from_revise_to_weigh() == first
    assert teacher.requests() == asked


async def test_held_out_prompts_reach_neither_the_teacher_nor_the_shards(chain: Chain) -> None:
    kept = chain.up_to_filter()
    [(train,)] = chain.workspace.database.fetch("SELECT count(*) FROM prompts WHERE split = 'train'")
    assert kept <= train < 40


@pytest.fixture
def import_file(make_chain: MakeChain, tmp_path: Path) -> Callable[[str], Any]:
    """Imports the text of a prompts file; returns the counts, and the reasons of bad rows by row."""

    def run(text: str) -> Any:
        path = tmp_path / "prompts.jsonl"
        path.write_text(text)
        chain = make_chain(NOBODY, path)
        chain.prompts = chain.prompts.model_copy(update={"max_prompt_tokens": 64})
        counts = chain.import_prompts()
        assert not chain.workspace.scratch("import").exists()
        return counts, dict(chain.workspace.database.fetch("SELECT source_row, reason FROM bad_rows"))

    return run


def test_bad_rows_are_recorded_with_their_reason_and_stop_nothing(
    import_file: Callable[[str], Any], sandbox: Sandbox
) -> None:
    lines = sandbox.prompts.read_text().splitlines()[:3]
    text = "\n".join([*lines, "{broken", lines[0], '{"prompt": "  "}', '{"question": "x"}'])
    counts, reasons = import_file(text)
    assert (counts.n_in, counts.n_out) == (7, 3)
    assert sorted(reasons) == [4, 5, 6, 7]
    assert reasons[5] == "duplicate of row 1"


def test_a_prompt_longer_than_the_limit_is_left_out_with_both_lengths(
    import_file: Callable[[str], Any],
) -> None:
    counts, reasons = import_file('{"prompt": "short"}\n' + json.dumps({"prompt": LONG}))
    assert (counts.n_out, counts.reasons) == (1, {"longer than prompts.max_prompt_tokens": 1})
    assert list(reasons) == [2]
    assert "tokens, more than prompts.max_prompt_tokens = 64" in reasons[2]


@pytest.mark.parametrize("batch_rows", [1, 2, 1000])
def test_a_duplicate_names_its_first_row_in_whatever_batch_and_even_if_that_is_too_long(
    import_file: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, batch_rows: int
) -> None:
    monkeypatch.setattr("tasks.import_prompts._BATCH_ROWS", batch_rows)
    rows = ["one", LONG, "two", "one", "{broken", LONG, "one", "two"]
    text = "\n".join(row if row == "{broken" else json.dumps({"prompt": row}) for row in rows)
    expected = {"longer than prompts.max_prompt_tokens": 1, "duplicate": 4, "not valid JSON": 1}

    first, reasons = import_file(text)
    second, again = import_file(text)  # every prompt is already in the database
    for counts in (first, second):
        assert (counts.n_in, counts.n_out, counts.reasons) == (8, 2, expected)
    assert again == reasons
    duplicates = {row: reason for row, reason in reasons.items() if "duplicate" in reason}
    assert duplicates == {row: f"duplicate of row {first}" for row, first in {4: 1, 6: 2, 7: 1, 8: 3}.items()}


def test_a_file_without_one_usable_row_is_an_error_with_the_reasons(
    import_file: Callable[[str], Any],
) -> None:
    with pytest.raises(NothingToDoError, match="the prompt is empty"):
        import_file('{"prompt": ""}\n')


def test_thresholds_that_keep_nothing_are_an_error_with_the_reasons(chain: Chain) -> None:
    chain.up_to_scores()
    with pytest.raises(NothingToDoError, match="response_reward_below"):
        chain.filter(FilterConfig(response_reward_below=-1e9))


async def test_a_missing_key_is_named_before_anything_is_sent(
    make_chain: MakeChain, teacher: TeacherProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = make_chain(teacher.base_url)
    chain.up_to_filter()
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(ConfigError, match=KEY_VARIABLE):
        await chain.revise()
    assert teacher.requests() == 0
