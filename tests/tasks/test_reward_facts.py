"""What a report says of a run's rewards."""

import pytest

from figa_core.config.file import parse_config
from figa_core.errors import InputError, NothingToDoError
from figa_core.ports import RowFailure
from figa_core.records import Score
from figa_core.report.data import ReportData, RewardFacts
from figa_core.report.html import render_report
from figa_core.storage.runs import Findings, find_run, save_findings
from figa_core.storage.scores import save_score_failures, save_scores
from tasks.combine import combine
from tasks.results import StageCounts
from tasks.reward_facts import reward_facts, reward_notes
from tasks.rewards import Part, Reward
from tasks.workspace import Workspace

from .conftest import RUN
from .rating import GENERATOR, RESPONSES, add_responses, values_of


def test_every_reward_is_shown_with_its_use_and_its_values(workspace: Workspace) -> None:
    data = {
        "workspace": {"path": "w"},
        "prompts": {"path": "p"},
        "generation": {"model": "g"},
        "revision": {"model": "m"},
        "rewards": [
            {"name": "helpful", "model": "models/reward"},
            {"name": "facts", "program": "m:f", "weight": 2.0},
            {"name": "tone", "judge": "gpt", "weight": 0},
        ],
    }
    config = parse_config(data, source="a test", base=workspace.directory)
    helpful, facts, _ = config.rewards
    parts = (Part("helpful", helpful, "h"), Part("facts", facts, "f"))
    both = Reward("combined", "both", parts)
    database = workspace.database
    add_responses(database, ["a", "b", "c"])
    save_scores(database, [Score(f"response-{i}", "h", value) for i, value in enumerate((1.0, 3.0, 5.0))])
    save_scores(database, [Score(f"response-{i}", "f", 1.0) for i in range(2)])
    save_score_failures(database, "f", [RowFailure("response-2", "the program cannot say")])
    counts = combine.fn(workspace, both, RESPONSES, sets_scale=True)
    assert counts == StageCounts(3, 2, {"facts: the program cannot say": 1})
    deviation = (8 / 3) ** 0.5
    assert values_of(database, "both") == pytest.approx({"a": -2 / deviation / 3, "b": 0.0}, abs=1e-12)
    save_findings(
        database,
        RUN,
        Findings(
            GENERATOR,
            "both",
            training_scorer="both",
            judge_scorer="both",
            reward_scorers={"helpful": "h", "facts": "f"},
        ),
    )

    run = find_run(database, RUN)
    uses = ("filter", "admit and weigh pairs", "judge models")
    found = reward_facts(database, run, config)
    assert found == (
        RewardFacts("helpful", "reward model reward", uses, 1.0, 3, 3.0, deviation),
        RewardFacts("facts", "program m:f", uses, 2.0, 2, 1.0, 0.0, {"the program cannot say": 1}),
        RewardFacts("tone", "judge gpt, scores from 1 to 10", (), 0.0, 0),
    )
    judged, flat = reward_notes(database, run, config)
    assert judged.startswith("The models are judged by the reward 'helpful' and 'facts', which also chose")
    assert flat == (
        "The reward 'facts' is 1 for all 2 responses that it rates, so it tells none of them apart."
    )
    html = render_report(ReportData("w", RUN, "now", reward_facts=found, notes=(judged,)))
    assert "The rewards of this run" in html
    assert "1 × the program cannot say" in html
    assert "which also chose" in html
    assert "The rewards of this run" not in render_report(ReportData("w", RUN, "now"))


def test_other_texts_need_the_scale_of_the_responses_and_every_part_a_value(workspace: Workspace) -> None:
    config = parse_config(
        {
            "workspace": {"path": "w"},
            "prompts": {"path": "p"},
            "generation": {"model": "g"},
            "revision": {"model": "m"},
            "rewards": [{"name": "helpful", "model": "r"}, {"name": "facts", "program": "m:f"}],
        },
        source="a test",
        base=workspace.directory,
    )
    parts = tuple(Part(each.name, each, each.name) for each in config.rewards)
    both = Reward("combined", "both", parts)
    add_responses(workspace.database, ["a", "b"])
    with pytest.raises(InputError, match="no common scale yet"):
        combine.fn(workspace, both, RESPONSES)
    save_scores(workspace.database, [Score(f"response-{i}", "helpful", float(i)) for i in range(2)])
    with pytest.raises(NothingToDoError, match="'facts' has a value for none of the run's responses"):
        combine.fn(workspace, both, RESPONSES, sets_scale=True)
