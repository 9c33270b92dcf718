"""The files of a study: a page for people and JSON for programs."""

from pathlib import Path

import orjson

from figa_core.errors import WorkspaceError
from figa_core.files import write_whole
from figa_core.study.data import ShiftStudy
from figa_core.study.reward.data import RewardStudy
from tasks.report import time_of_report
from tasks.workspace import Workspace


def write_reward_study(workspace: Workspace, study: RewardStudy) -> Path:
    """Write both to WORKSPACE/studies; returns the page. Raises WorkspaceError if they cannot be written."""
    from figa_core.study.reward.html import render_reward_study  # matplotlib, a second to import

    json = orjson.dumps(study.as_json(), option=orjson.OPT_INDENT_2)
    return write_study(workspace, f"{study.run_id}-reward", json, render_reward_study(study))


def write_shift(workspace: Workspace, study: ShiftStudy) -> Path:
    """The same of the distribution shift."""
    from figa_core.study.shift_page import render_shift

    json = orjson.dumps(study.as_json(), option=orjson.OPT_INDENT_2)
    page = render_shift(study, time_of_report())
    return write_study(workspace, f"{study.run_id}-shift", json, page)


def write_study(workspace: Workspace, name: str, json: bytes, page: str) -> Path:
    """Write a study's figures and its page; returns the page's path. Raises WorkspaceError."""
    path = workspace.studies / f"{name}.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path.with_suffix(".json"), json)
        write_whole(path, page.encode(errors="replace"))
    except OSError as error:
        raise WorkspaceError(
            f"{path}: cannot write the study: {error.strerror or error}. Free space, or correct the "
            "permissions; the same command repeats nothing."
        ) from error
    return path
