"""What a run shows in the Prefect UI besides its states: tables, figures and a link to the report."""

import base64
from pathlib import Path

from prefect.artifacts import (
    acreate_image_artifact,
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_table_artifact,
)

from figa_core.report.data import ReportData
from figa_core.report.funnel import Funnel, funnel_markdown
from figa_core.report.methods.comparison import MethodsComparison
from figa_core.report.methods.data import MethodsData
from figa_core.report.methods.text import result_sentences, table_lines
from figa_core.report.sentences import comparison_sentences, result_sentence, verdict_sentences
from figa_core.report.svg import Drawing, standalone_svg
from figa_core.storage import revisions, summary
from figa_core.study.reward.data import RewardStudy
from figa_core.study.reward.text import lines_of as study_lines
from figa_core.training.job import TrainingJob
from flows.run.open_run import OpenRun
from flows.server.published import published_url
from tasks.funnel import funnel_of
from tasks.report import curve_of


async def publish_funnel(run: OpenRun) -> None:
    """A table of how many rows reached each step, and why the others did not."""
    counts = summary.counts(run.workspace.database, run.run_id, run.generator)
    await acreate_table_artifact(
        _funnel_table(funnel_of(counts)), key="figa-funnel", description=f"Funnel of {run.run_id}"
    )


async def publish_failures(run: OpenRun) -> None:
    """A table of the rows without a usable revision, by reason; no table if every row has one."""
    database = run.workspace.database
    rows = revisions.failures(database, run.run_id)
    if not rows:
        return
    description = f"Rows of {run.run_id} without a usable revision, by reason"
    if revisions.count_open(database, run.run_id):
        command = f"figa retry-revisions --workspace {run.workspace.directory} --run {run.run_id}"
        description += f"; ask again: `{command}`"
    await acreate_table_artifact(rows, key="figa-failures", description=description)


async def publish_report(run: OpenRun, data: ReportData) -> None:
    """The result in sentences, the funnel, the reward histograms, and a link to the report."""
    from figa_core.report.plots import reward_histograms  # matplotlib, a second to import

    path = run.workspace.report(run.run_id)
    url = published_url(path) or path.as_uri()
    await acreate_link_artifact(
        url, link_text="Open the report", key="figa-report-link", description=str(path)
    )
    markdown = [
        f"[Open the report]({url}) (`{path}`)",
        *verdict_sentences(data),
        result_sentence(data),
        *comparison_sentences(data),
        funnel_markdown(data.funnel),
    ]
    await acreate_markdown_artifact(
        "\n\n".join(markdown), key="figa-report", description=f"Report of {run.run_id}"
    )
    await _publish_image(reward_histograms(data.rewards), "figa-rewards")


async def publish_methods(run: OpenRun, data: MethodsData, found: MethodsComparison, path: Path) -> None:
    """The result of a comparison in sentences, its table, and a link to its report."""
    url = published_url(path) or path.as_uri()
    await acreate_link_artifact(
        url, link_text="Open the comparison", key="figa-methods-link", description=str(path)
    )
    table = "\n".join(table_lines(data, found))
    markdown = "\n\n".join([*result_sentences(data, found), f"```\n{table}\n```"])
    description = f"Comparison of methods on the pairs of {run.run_id}"
    await acreate_markdown_artifact(markdown, key="figa-methods", description=description)


async def publish_study(run: OpenRun, study: RewardStudy, path: Path) -> None:
    """The result of `figa study reward` in lines, and a link to its page."""
    url = published_url(path) or path.as_uri()
    await acreate_link_artifact(url, link_text="Open the study", key="figa-study-link", description=str(path))
    text = "\n".join(study_lines(study))
    description = f"How much the reward model of {run.run_id} matters"
    await acreate_markdown_artifact(f"```\n{text}\n```", key="figa-study", description=description)


async def publish_curve(job: TrainingJob) -> None:
    """The training's curves up to its last step."""
    from figa_core.report.plots import training_curves

    key = f"figa-training-{job.objective.replace('_', '-')}"
    await _publish_image(training_curves([curve_of(job.output, job.objective)]), key)


async def _publish_image(drawn: Drawing | None, key: str) -> None:
    """As a data URL: the image needs no file server and lasts as long as the artifact."""
    if drawn is None:
        return
    svg = base64.b64encode(standalone_svg(drawn).encode()).decode()
    await acreate_image_artifact(f"data:image/svg+xml;base64,{svg}", key=key, description=drawn.description)


def _funnel_table(funnel: Funnel) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for row in funnel.rows():
        rows.append({"step": row.name, "rows": row.count, "share": row.share, "why not": ""})
        rows += [
            {"step": f"not {row.name}", "rows": drop.count, "share": "", "why not": drop.reason}
            for drop in row.drops
        ]
    return rows
