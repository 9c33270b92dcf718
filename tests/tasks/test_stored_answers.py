"""A run with another limit judges the same stored answers again, and nothing is paid for twice."""

from typing import Any

from figa_core.config import RevisionPromptConfig
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.storage import revisions
from tasks.revise import read_journal


async def statuses_under(chain: Any, **limits: Any) -> dict[str, int]:
    """The statuses of the chain's rows in a run with these limits."""
    chain.prompt = RevisionPromptConfig(**limits)
    chain.filter()
    await chain.revise()
    return revisions.statuses(chain.workspace.database, chain.run_id)


async def test_a_higher_limit_takes_what_a_lower_one_rejected_and_back_without_a_call(
    make_chain: Any, teacher: TeacherProcess
) -> None:
    chain = make_chain(teacher.base_url)
    chain.up_to_scores()
    usual = await statuses_under(chain)
    asked = teacher.requests()
    assert usual["rejected"] > 0

    highest = await statuses_under(chain, max_edit_share=1.0)
    lowest = await statuses_under(chain, max_edit_share=0.01)

    assert highest.get("rejected", 0) < usual["rejected"] < lowest["rejected"]
    assert highest["succeeded"] > usual["succeeded"] > lowest.get("succeeded", 0)
    assert await statuses_under(chain) == usual
    assert teacher.requests() == asked
    # All of it is in the journal, so a lost database gets it back.
    database = chain.workspace.database
    assert await statuses_under(chain, max_edit_share=0.01) == lowest
    with database.open() as connection:
        connection.execute("UPDATE revisions SET status = 'pending', text = NULL, reason = NULL")
        connection.execute("DELETE FROM marks")
    read_journal.fn(chain.workspace)
    assert revisions.statuses(database, chain.run_id) == lowest


async def test_rows_with_unfit_answers_are_asked_again_if_a_run_may_ask_more_often(
    make_chain: Any, teacher: TeacherProcess
) -> None:
    chain = make_chain(teacher.base_url)
    chain.up_to_scores()
    once = await statuses_under(chain, asked_again_max=0)
    asked = teacher.requests()
    assert once["rejected"] > 0

    again = await statuses_under(chain, asked_again_max=2)

    assert once["rejected"] < teacher.requests() - asked <= 3 * once["rejected"]
    asked = teacher.requests()
    assert await statuses_under(chain, asked_again_max=1) == again
    assert teacher.requests() == asked


async def test_a_run_says_how_many_rows_needed_no_call(make_chain: Any, teacher: TeacherProcess) -> None:
    chain = make_chain(teacher.base_url)
    chain.up_to_scores()
    rows = sum((await statuses_under(chain)).values())
    chain.prompt = RevisionPromptConfig(max_edit_share=0.5)
    chain.filter()
    notes: list[str] = []
    await chain.revise(on_note=notes.append)
    assert notes == [
        f"{rows} rows need no call: answers from runs with other limits, judged by this run's limits"
    ]
