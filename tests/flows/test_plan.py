"""The calls that a run needs, counted before anything is spent."""

import json

from figa_core.config.file import load_config
from flows.plan import make_plan

from .conftest import Project


def test_a_prompt_that_appears_several_times_is_one_call(project: Project) -> None:
    texts = [f"Question number {i % 700}?" for i in range(2100)]
    (project.directory / "prompts.jsonl").write_text(
        "".join(f"{json.dumps({'prompt': text})}\n" for text in texts) + "no row\n", encoding="utf-8"
    )
    project.settings["prompts"] |= {"path": "prompts.jsonl", "held_out_share": 0.0, "limit": 2101}
    plan = make_plan(load_config(project.config))
    assert (plan.exact, plan.calls) == (False, 700)
    assert not project.workspace.exists()
