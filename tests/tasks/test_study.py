"""The distribution shift of a run's pairs."""

import json

import pytest

from figa_core.config import PipelineConfig, WorkspaceConfig
from figa_core.errors import InputError
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.storage.runs import Findings, save_findings, save_run
from figa_core.study.report import sentences
from tasks.study import study_shift
from tasks.workspace import Workspace
from tests.tasks.conftest import RUN, Chain, MakeChain


def nothing(_line: str) -> None: ...


def test_a_run_without_pairs_cannot_be_studied(chain: Chain) -> None:
    save_config(chain)
    with pytest.raises(InputError, match="no weighed pairs to study"):
        study_shift(chain.workspace, RUN, embedder=None, tell=nothing)


@pytest.mark.slow  # a process that computes log-probabilities, and embeddings
async def test_edits_shift_the_answers_less_than_references_do(
    make_chain: MakeChain, teacher: TeacherProcess, workspace: Workspace
) -> None:
    chain = make_chain(teacher.base_url)
    chain.up_to_filter()
    weighed = await chain.from_revise_to_weigh()
    save_config(chain)
    save_findings(workspace.database, RUN, Findings(scorer=chain.scorer, training_scorer=chain.scorer))
    found, path = study_shift(workspace, RUN, embedder=None, tell=nothing)
    assert found.pairs == found.of_pairs == weighed.counts.n_out > 10
    shifts = found.shifts["base"]
    assert shifts["revision"].n == found.pairs
    assert 0 < (found.edit_shares["revision"].mean or 0) < (found.edit_shares["reference"].mean or 0)
    assert found.discrepancies.keys() == {"revision", "reference"}
    assert len([*sentences(found)]) >= 1
    assert "Ỹ" in path.read_text(encoding="utf-8")
    written = json.loads(path.with_suffix(".json").read_bytes())
    assert written["shifts"]["base"]["revision"]["mean"] == shifts["revision"].mean
    assert written["shifts"]["base"]["revision"]["interval"] == list(shifts["revision"].interval or ())
    again, _ = study_shift(workspace, RUN, embedder=None, tell=nothing)
    assert again == found


def save_config(chain: Chain) -> None:
    """What a run stores at its start."""
    config = PipelineConfig.model_validate(
        {
            "workspace": WorkspaceConfig(path=chain.workspace.directory, name="test"),
            "prompts": chain.prompts,
            "generation": chain.generation,
            "reward": chain.reward,
            "revision": chain.revision,
        }
    )
    save_run(chain.workspace.database, RUN, "test", config.model_dump(mode="json"), None)
