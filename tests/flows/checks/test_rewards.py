"""Rewards are tried, and their uses compared, before anything is spent."""

from pathlib import Path
from typing import Any

import pytest

from figa_core.config.file import parse_config
from flows.checks.facts import Facts, each_reward_model
from flows.checks.rewards import check_fields, check_judges, check_programs, check_roles

from .conftest import PRICES, rows, write_rows

QUANTILES = {"reference_reward_above": "q0.3", "reward_gap_above": "q0.3"}
MODEL = {"name": "helpful", "model": "models/reward"}
JUDGE = {"name": "tone", "judge": "m"}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


@pytest.fixture
def facts(tmp_path: Path) -> Any:
    def make(*rewards: dict[str, Any], content: Any = None, **sections: Any) -> Facts:
        content = rows(reference="An answer.", answer=1) if content is None else content
        write_rows(tmp_path / "prompts.jsonl", content)
        data = {
            "workspace": {"path": "workspace"},
            "prompts": {"path": "prompts.jsonl", "held_out_share": 0.25},
            "generation": {"model": "base"},
            "revision": {"model": "m"},
            "filter": QUANTILES,
            "rewards": list(rewards),
            **sections,
        }
        if not rewards:
            data |= {"reward": {"model": "reward"}}
        return Facts(parse_config(data, source="a test", base=tmp_path))

    return make


def program(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "program": f"rewards_to_try:{name}", **more}


def lines(found: Any) -> list[tuple[bool, str]]:
    return [(each.is_problem, str(each)) for each in found]


def test_a_single_reward_model_is_left_in_peace(facts: Any) -> None:
    asked = facts(filter={})
    assert [*check_roles(asked), *check_programs(asked), *check_judges(asked), *check_fields(asked)] == []


def test_good_rewards_with_a_judge_of_their_own_give_no_finding(
    facts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    judge = {**JUDGE, "weight": 0, "endpoint": {"api_key_env": "OPENAI_API_KEY"}}
    asked = facts(program("good"), MODEL, judge, evaluation={"reward": "tone"})
    said = list[str]()
    asked.say = said.append
    found = [*check_roles(asked), *check_programs(asked), *check_judges(asked), *check_fields(asked)]
    assert found == []
    assert said == ["trying the reward program rewards_to_try:good on a few rows"]


def test_a_judge_that_chose_the_pairs_is_said_unless_it_was_asked_for(facts: Any) -> None:
    [(is_problem, line)] = lines(check_roles(facts(MODEL, program("good"))))
    assert not is_problem
    assert "judged by the reward 'helpful' and 'good', which also chose the pairs" in line
    assert lines(check_roles(facts(MODEL, evaluation={"reward": "helpful"}))) == []
    assert lines(check_roles(facts(MODEL, evaluation={"verifier": "m:f"}))) == []


def test_unknown_names_unused_rewards_and_weights_are_named(facts: Any) -> None:
    unknown = facts(MODEL, filter={**QUANTILES, "reward": "x"}, evaluation={"reward": "y"})
    assert [line.split(":")[0] for _, line in lines(check_roles(unknown))] == [
        "filter.reward",
        "evaluation.reward",
    ]
    unused = facts(MODEL, program("good", weight=0), evaluation={"verifier": "m:f"})
    assert lines(check_roles(unused)) == [
        (False, "rewards: 'good' is used for nothing: it has no weight, and no stage names it.")
    ]
    [(is_problem, line)] = lines(check_roles(facts({**MODEL, "weight": -1}, evaluation={"verifier": "m:f"})))
    assert is_problem
    assert "Set it above 0" in line


def test_combined_rewards_need_thresholds_of_their_own(facts: Any) -> None:
    asked = facts(MODEL, program("good"), filter={}, evaluation={"verifier": "m:f"})
    [(is_problem, line)] = lines(check_roles(asked))
    assert is_problem
    assert "in standard deviations" in line
    one = facts(MODEL, program("good"), filter={"reward": "good"}, evaluation={"verifier": "m:f"})
    assert [line for found, line in lines(check_roles(one)) if found] == []


def test_a_judge_alone_needs_a_threshold_that_its_scores_can_be_below(facts: Any) -> None:
    asked = facts(JUDGE, filter={}, evaluation={"verifier": "m:f"})
    [(is_problem, line)] = lines(check_roles(asked))
    assert is_problem
    assert "filter.response_reward_below: the scores of the judge 'tone' are from 1 to 10" in line
    for fits in (1.5, "q0.7"):
        asked = facts(JUDGE, filter={"response_reward_below": fits}, evaluation={"verifier": "m:f"})
        assert lines(check_roles(asked)) == []


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        (program("none"), "returned None, which is no number. It gets messages and text"),
        (program("hang", time_limit_s=0.3), "the program took more than 0.3 s"),
        (program("with_answer"), "missing a required argument: 'answer'"),
        (program("good", fields=["answer"]), "unexpected keyword argument 'answer'"),
        (program("nothing"), "has no function 'nothing'"),
        ({"name": "x", "program": "no_such_module:f"}, "no_such_module cannot be imported"),
    ],
)
def test_a_program_that_no_row_can_be_rated_with_is_a_problem(
    facts: Any, reward: dict[str, Any], words: str
) -> None:
    [(is_problem, line)] = lines(check_programs(facts(reward)))
    assert is_problem
    assert line.startswith(f"rewards ({reward['name']}).program: ")
    assert words in line


def test_a_program_that_fails_for_one_row_or_cannot_say_is_a_warning(facts: Any) -> None:
    content = [*rows(1, reference="Bad."), *({**row, "reference": "Good."} for row in rows(24)[1:])]
    choosy = facts(program("choosy"), content=content, prompts={"path": "prompts.jsonl", "held_out_share": 0})
    [(is_problem, line)] = lines(check_programs(choosy))
    assert not is_problem
    assert "the program ended its process (exit code 2). Rows without a value are left out." in line
    [(is_problem, line)] = lines(check_programs(facts(program("unsure"))))
    assert not is_problem
    assert "the program cannot say" in line


def test_fields_come_from_the_rows(facts: Any) -> None:
    assert lines(check_programs(facts(program("with_answer", fields=["answer"])))) == []
    [(is_problem, line)] = lines(check_fields(facts(program("good", fields=["ansver"]))))
    assert is_problem
    assert "no row has the field 'ansver'" in line
    [(is_problem, line)] = lines(check_fields(facts(program("good", fields=["reference"]), content=rows())))
    assert not is_problem
    assert "has a reference" in line
    [(is_problem, line)] = lines(check_fields(facts(program("good", fields=["type"]))))
    assert not is_problem
    assert "prompts.type_field is not set" in line


def test_a_judge_needs_a_key_a_template_and_a_price(
    facts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    [(is_problem, line)] = lines(check_judges(facts(JUDGE)))
    assert is_problem
    assert "OPENAI_API_KEY" in line
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    (tmp_path / "judge.jinja").write_text("no text")
    template = facts({**JUDGE, "template": "judge.jinja"})
    [(is_problem, line)] = lines(check_judges(template))
    assert is_problem
    assert "lacks the text" in line
    asked = facts({**JUDGE, "judge": "n"}, spending={"budget_usd": 1, "prices": PRICES})
    [(is_problem, line)] = lines(check_judges(asked))
    assert is_problem
    assert "needs the price of 'n'" in line


def test_a_check_of_a_reward_model_is_made_for_each_and_names_it(facts: Any) -> None:
    from figa_core.findings import warning

    @each_reward_model
    def check(asked: Facts) -> Any:
        yield warning("reward.model", f"{asked.reward.model.name}: see reward.max_length")

    assert lines(check(facts())) == [(False, "reward.model: reward: see reward.max_length")]
    found = lines(check(facts(MODEL, program("good"), {**MODEL, "name": "other", "model": "r2"})))
    assert found == [
        (False, "rewards (helpful).model: reward: see rewards (helpful).max_length"),
        (False, "rewards (other).model: r2: see rewards (other).max_length"),
    ]
