"""The method on real weights, compared with the others in several domains: `make evidence`.

    python -m tests.benchmarks.evidence [NAME ...] [--report-only] [--keep]

Each comparison is `figa compare` on SmolLM2-135M-Instruct, with the domain's prompts, scripted teacher and
verifier. It writes build/evidence/NAME.json and NAME.html; nothing that has been trained is trained again.
Then the tables of all that are there are printed, and written with what follows from them to
build/evidence/report.html. With --keep, what they need is written to
tests/benchmarks/evidence_results/, to be committed with the picture of the README.
"""

import argparse
import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from figa_core.domains.base import load_domain
from figa_core.domains.build import write_prompts
from figa_core.real.reward import reward_model
from figa_core.real.weights import real_model
from figa_core.sandbox.build import build_sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from tests.benchmarks.evidence_page import write_report
from tests.benchmarks.evidence_picture import PICTURE, draw
from tests.benchmarks.evidence_plan import EXPERIMENTS, Experiment
from tests.benchmarks.evidence_report import found_in
from tests.benchmarks.evidence_results import keep, measured_here
from tests.benchmarks.figures import log

if TYPE_CHECKING:
    from figa_core.config import PipelineConfig

SETTINGS = Path(__file__).with_suffix(".toml")
ROOT, REAL, SANDBOX = Path("build/evidence"), Path("build/real"), Path("build/sandbox")
README_PICTURE = Path("figa_core/report") / PICTURE
_SEED = 0  # of the prompts


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the named comparisons, or all, and write the report of all that have been run."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.evidence")
    names = [experiment.name for experiment in EXPERIMENTS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--report-only", action="store_true", help="train nothing")
    parser.add_argument("--keep", action="store_true", help="write what is to be committed, too")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}; choose from {', '.join(names)}")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    for experiment in EXPERIMENTS:
        if not options.report_only and experiment.name in (options.names or names):
            log(f"--- {experiment.name}")
            run(experiment)
    print(write_report(ROOT, EXPERIMENTS))
    if options.keep:
        keep_results(ROOT, names)


def keep_results(root: Path, names: Sequence[str]) -> None:
    """Write the results of this machine to the folder that is committed, and draw the README's picture."""
    for path in measured_here(names, root):
        log(f"kept: {keep(path)}")
    if draw(found_in(root, EXPERIMENTS), README_PICTURE) is not None:
        log(f"drawn: {README_PICTURE}; correct its description in README.md")


def run(experiment: Experiment) -> None:
    """`figa compare`, with everything that it needs.

    Raises:
        FigaError: see `flows.compare_methods`.
    """
    from flows.compare_methods import compare_methods
    from flows.demo import KEY, KEY_VARIABLE
    from flows.preflight import check
    from flows.progress import Lines, showing
    from flows.server.api import prefect_api, wait_until_ready
    from tasks.workspace import Workspace

    workspace, progress = ROOT / experiment.domain, Lines(log)
    os.environ.setdefault(KEY_VARIABLE, KEY)
    with (
        TeacherProcess(domain=experiment.domain, requests_per_minute=6000) as teacher,
        prefect_api(Workspace(workspace).prefect) as server,
        showing(progress),
    ):
        config = settings(experiment, workspace, teacher.base_url)
        check(config)
        wait_until_ready(server, progress)
        result = asyncio.run(compare_methods(config))
    for suffix in (".json", ".html"):
        shutil.copyfile(result.report.with_suffix(suffix), ROOT / f"{experiment.name}{suffix}")


def settings(experiment: Experiment, workspace: Path, base_url: str) -> "PipelineConfig":
    """Those of evidence.toml, those of the comparison, and this machine's paths."""
    from figa_core.config.file import load_config

    domain = load_domain(experiment.domain)
    prompts = REAL.resolve() / domain.name / f"{experiment.prompts}"
    if domain.answers is None:
        reward = build_sandbox(SANDBOX, on_progress=log).reward_model
    else:
        reward = reward_model(domain, REAL, on_progress=log)
    paths = {
        "workspace": {"path": str(workspace.resolve()), "name": f"evidence, {domain.name}"},
        "prompts": {"path": str(write_prompts(domain, prompts, count=experiment.prompts, seed=_SEED))},
        "generation": {"model": str(real_model(REAL, on_progress=log))},
        "reward": {"model": str(reward)},
        "revision": {"base_url": base_url},
    }
    return load_config(SETTINGS, paths | experiment.overrides)


if __name__ == "__main__":
    main()
