"""The last part of the story: models sample the held-out prompts, and are judged by what they say."""

from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from figa_core.config import PipelineConfig
from figa_core.records import Split
from figa_core.report.data import ReportData
from flows.artifacts import publish_report
from flows.open_run import OpenRun, open_run
from flows.progress import current
from flows.stored import stored_config
from flows.story import Story, now
from tasks.evaluate import evaluate
from tasks.generate import Sampling, generate, generator_id
from tasks.report import report
from tasks.score import score_responses


@flow(name="evaluate-model", flow_run_name="evaluate {model.name} in {workspace.name}", persist_result=False)
async def evaluate_model(
    workspace: Path, model: Path, label: str | None = None, run_id: str | None = None
) -> ReportData:
    """Judge a model on the held-out prompts of a stored run, and write the run's report again.

    Args:
        workspace: Directory of the workspace.
        model: Hugging Face directory of the model to judge, such as WORKSPACE/trainings/ID/model.
        label: What it is called in the report; without one, its directory.
        run_id: Id of the run whose prompts and settings count; without one, the latest.

    Raises:
        InputError: there is no such workspace, run or model.
        FigaError: what was wrong, where, and what to do; what was done until then is stored.
    """
    config, progress = stored_config(workspace, run_id), current()
    model = model.expanduser().resolve()
    with open_run(config, flow_run.name or "evaluate-model", progress, needs_key=False) as run:
        story = Story(progress)
        await judge(story, run, config, label or str(model), model)
        data = await story.tell("report", report, run.workspace, run.run_id, created_at=now(), counted=False)
        await publish_report(run, data)
    return data


async def judge(story: Story, run: OpenRun, config: PipelineConfig, label: str, model: Path) -> None:
    """Sample a model on the held-out prompts, score the samples, store the means."""
    at, evaluation = (run.workspace, run.run_id), config.evaluation
    sampling = Sampling(model, Split.HELD_OUT, evaluation.temperature, 1, evaluation.max_prompts)
    generator = generator_id(run.workspace, config.generation, sampling)
    longest = config.prompts.max_prompt_tokens
    await story.tell(f"evaluate {label}: generate", generate, *at, config.generation, sampling, longest)
    await story.tell(
        f"evaluate {label}: score", score_responses, *at, config.reward, generator, Split.HELD_OUT
    )
    await story.tell(f"evaluate {label}", evaluate, *at, evaluation, label, generator, run.scorer)
