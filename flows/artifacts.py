"""What a run shows in the Prefect UI beside its states: the report, and a table of what failed."""

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from figa_core.report.data import ReportData
from figa_core.report.funnel import funnel_markdown
from figa_core.report.sentences import comparison_sentences, result_sentence
from figa_core.storage import revisions
from flows.open_run import OpenRun


async def publish_report(run: OpenRun, data: ReportData) -> None:
    """The result in sentences, the funnel, and a link to the report."""
    path = run.workspace.report(run.run_id)
    sentences = [result_sentence(data), *comparison_sentences(data)]
    markdown = "\n\n".join(
        [f"[Open the report]({path.as_uri()}) (`{path}`)", *sentences, funnel_markdown(data.funnel)]
    )
    await acreate_markdown_artifact(markdown, key="figa-report", description=f"Report of {run.run_id}")


async def publish_failures(run: OpenRun) -> None:
    """A table of the rows without a usable revision by reason; none where every row has one."""
    rows = revisions.failures(run.workspace.store.database, run.run_id)
    if rows:
        await acreate_table_artifact(
            rows,
            key="figa-failures",
            description=f"Rows of {run.run_id} without a usable revision, by reason",
        )
