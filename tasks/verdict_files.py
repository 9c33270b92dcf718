"""The verdicts of a run as JSON, so that a program does not use a model that is worse than its base.

    WORKSPACE/verdicts/RUN.json           the run's verdict, and that on each of its models
    WORKSPACE/trainings/ID/verdict.json   beside a trained model: its verdict in each run that judged it

They are outside the model's own directory, whose files have hashes.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from figa_core.errors import WorkspaceError
from figa_core.evaluation.verdict import Verdict
from figa_core.files import write_whole
from figa_core.report.benchmarks import benchmarks_json
from figa_core.report.comparison import run_verdict, verdict_on
from figa_core.report.data import ModelScores, ReportData
from figa_core.report.preferences import pair_json
from figa_core.training.checkpoints import MANIFEST_NAME
from tasks.workspace import Workspace

NAME = "verdict.json"


def write_verdicts(workspace: Workspace, data: ReportData) -> None:
    """Write the verdicts of a run that has judged or trained a model.

    Raises:
        OSError: a file cannot be written.
    """
    found = run_verdict(data)
    if found is None and not data.models:
        return
    verdicts = {model.label: verdict_on(data.base, model) for model in data.models}
    about: dict[str, Any] = {
        "run_id": data.run_id,
        "judged_at": data.created_at,
        "main": data.main.label if data.main is not None else data.unjudged,
        **_or_none(found),
        "models": {
            model.label: {"directory": model.directory, **verdicts[model.label].as_json()}
            for model in data.models
        },
        **(
            {"compared_by_judge": [pair_json(pair) for pair in data.judged_pairs]}
            if data.judged_pairs
            else {}
        ),
        **({"benchmarks": benchmarks_json(data.benchmarks)} if data.benchmarks.rows else {}),
    }
    _write(workspace.verdicts(data.run_id), about)
    for model in _in_workspace(data.models):
        add_verdict(Path(model.directory or "").parent, data, verdicts[model.label])


def add_verdict(training: Path, data: ReportData, found: Verdict) -> None:
    """Add a run's verdict to those beside a trained model; `do_not_use` is true if any run says so.

    Raises:
        OSError: the file cannot be written.
    """
    runs = _runs(training / NAME) | {data.run_id: {"judged_at": data.created_at, **found.as_json()}}
    worse = any(isinstance(run, dict) and run.get("do_not_use") for run in runs.values())
    _write(training / NAME, {"do_not_use": worse, "runs": runs})


def add_separate_verdict(model: Path, data: ReportData, found: Verdict) -> None:
    """As `add_verdict`, for a model that was evaluated by itself, if it is a training's.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    if not (model.parent / MANIFEST_NAME).is_file():
        return
    try:
        add_verdict(model.parent, data, found)
    except OSError as error:
        raise WorkspaceError(
            f"{model.parent / NAME}: cannot write the verdict: {error.strerror or error}. Free space or "
            "correct the permissions, then evaluate the model again."
        ) from error


def _in_workspace(models: Iterable[ModelScores]) -> Iterable[ModelScores]:
    return (model for model in models if model.directory and Path(model.directory).is_dir())


def _or_none(found: Verdict | None) -> dict[str, Any]:
    return {"verdict": None, "do_not_use": False} if found is None else found.as_json()


def _runs(path: Path) -> dict[str, Any]:
    """The verdicts by run; none if the file is missing or damaged, since each run can write its own again."""
    try:
        return dict(orjson.loads(path.read_bytes())["runs"])
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
