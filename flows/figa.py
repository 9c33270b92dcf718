"""The whole pipeline: from a file of prompts to a better model and a report that shows why.

Its three parts are `build_dataset.py`, `train_model.py` and `evaluate_model.py`; each stage in them is the
file of that name in `tasks/`. Rows never pass through here: a stage reads the rows that this run still lacks
from the workspace, and stores its results there.
"""

from dataclasses import dataclass
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from figa_core.config import PipelineConfig
from figa_core.config.file import anchor_paths
from figa_core.report.data import ReportData
from flows.build_dataset import build
from flows.evaluate_model import judge, report_run, track
from flows.progress import current
from flows.run.open_run import open_run
from flows.run.parameters import run_name
from flows.run.story import Story
from flows.run.verdict import failed_by_its_model, require_not_worse
from flows.train_model import train_models


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of the flow: where the report is, what it shows, and the seconds of each stage."""

    run_id: str
    report: Path
    data: ReportData
    seconds: dict[str, float]


@flow(name="figa", flow_run_name=run_name, persist_result=False)
@failed_by_its_model
async def figa(config: PipelineConfig) -> RunResult:
    """Align a model with FIGA and compare it with the baselines: prompts in, trained models and a report out.

    Run again with the same settings, it continues where it stopped: nothing is generated, paid for or
    trained twice.

    Args:
        config: The run. You must always give the prompts, the model to align and the reward model.

    Raises:
        WorseModelError: the trained model is worse than its base. The run is done, and its report is written.
        FigaError: what was wrong, where, and what to do; what was done before is stored.
    """
    # Paths typed into a form may be relative.
    config, progress = anchor_paths(config, Path.cwd()), current()
    with open_run(config, flow_run.name or "figa", progress) as run:
        story = Story(progress)
        weighed = await build(story, run, config)
        models = await train_models(story, run, config, weighed)
        await judge(story, run, config, models)
        data = await report_run(story, run)
        track(story, run, config, data)
        result = RunResult(run.run_id, run.workspace.report(run.run_id), data, story.seconds)
        require_not_worse(data, data.main, result)
    return result
