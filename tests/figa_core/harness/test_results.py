"""lm-eval's results are read with their errors, and nothing that is damaged is taken for a result."""

import copy
import json
from typing import Any

import pytest

from figa_core.errors import EvaluationError
from figa_core.harness.results import BenchmarkResult, read_result
from tests.figa_core.harness.lm_eval_program import lm_eval_results


def read(content: Any) -> BenchmarkResult:
    return read_result(json.dumps({**content, "key": "k"}), key="k", source="k.json")


def group_of(weights_by_size: bool) -> Any:
    """Two tasks in a group within a group; the aggregate is a mean over questions, or over tasks."""
    one, two = lm_eval_results("one", (1.0, 0.0)), lm_eval_results("two", (1.0, 1.0, 1.0, 0.0, 1.0, 1.0))
    results = copy.deepcopy(one)
    for name in ("results", "higher_is_better", "n-samples", "samples"):
        results["results"][name] |= two["results"][name]
    value = 6 / 8 if weights_by_size else (0.5 + 5 / 6) / 2
    for name in ("inner", "outer"):
        entry = {"name": name, "alias": name, "acc,none": value, "acc_stderr,none": 0.1, "sample_len": 8}
        results["results"]["results"][name] = entry
        results["results"].setdefault("groups", {})[name] = entry
        results["results"]["higher_is_better"][name] = {"acc": True}
    results["results"]["group_subtasks"] = {"outer": ["inner"], "inner": ["one", "two"]}
    return results


def test_a_task_has_its_score_error_and_the_value_of_each_question() -> None:
    found = read(lm_eval_results())
    [score] = found.scores
    assert (found.task, found.seconds, found.versions["lm_eval"]) == ("own_choice", 2.5, "0.4.13")
    assert (score.task, score.metric, score.filter) == ("own_choice", "acc", "none")
    assert (score.value, score.n, score.available, score.higher_is_better) == (0.75, 4, 10, True)
    assert score.standard_error == pytest.approx(0.25)
    assert score.values == (1.0, 0.0, 1.0, 1.0)
    assert score.questions == tuple(f"{i}:{'0' * 12}" for i in range(4))


def test_a_group_has_its_aggregate_and_its_tasks_are_parts() -> None:
    found = {score.task: score for score in read(group_of(weights_by_size=True)).scores}
    assert {task for task, score in found.items() if not score.is_part} == {"outer"}
    assert (found["outer"].n, found["outer"].available, len(found["outer"].values)) == (8, 20, 8)
    assert found["outer"].questions[2].startswith("two:0:")
    assert found["one"].values == (), "kept once, with the aggregate"


def test_a_score_that_is_no_mean_over_questions_has_no_values() -> None:
    [outer] = [score for score in read(group_of(weights_by_size=False)).scores if not score.is_part]
    assert outer.value == pytest.approx(2 / 3)
    assert outer.values == outer.questions == ()
    ratio = lm_eval_results()
    ratio["results"]["results"]["own_choice"]["acc,none"] = 0.7
    assert read(ratio).scores[0].values == ()


def test_a_tag_or_a_group_without_an_aggregate_is_its_tasks() -> None:
    found = group_of(weights_by_size=True)
    del found["results"]["groups"]
    for name in ("inner", "outer"):
        found["results"]["results"][name] = {"name": name, "alias": name}
    assert [(score.task, score.is_part) for score in read(found).scores] == [("one", False), ("two", False)]


def test_what_lm_eval_gives_no_error_for_has_none_and_what_is_no_number_is_left_out() -> None:
    found = lm_eval_results()
    found["results"]["results"]["own_choice"] |= {
        "acc_stderr,none": "N/A",
        "perplexity,none": float("nan"),
        "text,none": "a text",
    }
    result = read(found)
    assert [score.standard_error for score in result.scores] == [None]
    assert result.without == ("own_choice: perplexity",)


def test_each_filter_of_a_metric_is_a_score_of_its_own() -> None:
    found = lm_eval_results()
    entry = found["results"]["results"]["own_choice"]
    entry |= {"acc,strict": 0.0, "acc_stderr,strict": 0.0}
    samples = found["results"]["samples"]["own_choice"]
    samples += [{**sample, "filter": "strict", "values": {"acc": 0.0}} for sample in samples]
    assert [(score.filter, score.values) for score in read(found).scores] == [
        ("none", (1.0, 0.0, 1.0, 1.0)),
        ("strict", (0.0,) * 4),
    ]


def _without(name: str) -> Any:
    found = lm_eval_results()
    del found["results"][name]
    return found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "\x00" * 40,
        "[" * 100_000,
        "null",
        json.dumps({"key": "another"}),
        json.dumps({"key": "k", "results": 3}),
        json.dumps({**_without("n-samples"), "key": "k"}),
        json.dumps({**lm_eval_results(), "key": "k", "versions": 4}),
        json.dumps({**lm_eval_results(), "key": "k"})[:-40],
        json.dumps({**lm_eval_results(), "key": "k", "results": {"results": {"own_choice": {}}}}),
    ],
)
def test_a_damaged_file_is_no_result(text: str) -> None:
    with pytest.raises(EvaluationError, match=r"^k\.json: not a whole result of lm-eval: .*asks again"):
        read_result(text, key="k", source="k.json")


def test_a_group_that_is_within_itself_is_no_result() -> None:
    found = group_of(weights_by_size=True)
    found["results"]["group_subtasks"] = {"outer": ["inner"], "inner": ["outer"]}
    with pytest.raises(EvaluationError, match="within itself"):
        read(found)
