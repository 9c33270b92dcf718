"""The distribution shift of a run's pairs."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from figa_core.config import PipelineConfig, WorkspaceConfig
from figa_core.errors import ConfigError, InputError
from figa_core.file_hashes import write_sealed
from figa_core.records import FinishReason, Response
from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.storage.responses import chosen_prompts, save_responses
from figa_core.storage.runs import Findings, find_run, save_findings, save_run
from figa_core.study.tables import sentences
from figa_core.training.checkpoints import MANIFEST_NAME, MODEL_NAME, TrainingManifest
from tasks import study
from tasks.compare import held_out, trained_generator
from tasks.evaluate import held_out_sampling
from tasks.generate import generator_id
from tasks.study import held_out_shifts, study_shift, with_all_answers
from tasks.study_models import StudiedModel
from tasks.workspace import Workspace
from tests.tasks.conftest import RUN, Chain, MakeChain
from tests.tasks.shard_sets import PAIR, write_set


def nothing(_line: str) -> None: ...


def test_a_run_without_pairs_cannot_be_studied(chain: Chain) -> None:
    save_config(chain)
    with pytest.raises(InputError, match="no weighed pairs to study"):
        study_shift(chain.workspace, RUN, embedder=None, tell=nothing)


def test_an_embedder_that_is_not_there_ends_it_before_any_pass(chain: Chain, tmp_path: Path) -> None:
    save_config(chain)
    write_set(chain.workspace.shards("set"), pairs=3)
    save_findings(chain.workspace.database, RUN, Findings(shard_set_id="set"))
    told = list[str]()
    with pytest.raises(ConfigError, match="wrong: no such model directory"):
        study_shift(chain.workspace, RUN, embedder=tmp_path / "wrong", tell=told.append)
    assert told == []


def test_the_study_says_what_embeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, given = tmp_path / "base", tmp_path / "mine"
    assert study._encoder(given, base) == (given, str(given))
    monkeypatch.setattr(study, "installed_encoder", lambda: None)
    assert study._encoder(None, base)[0] == base
    assert "make embedder" in study._encoder(None, base)[1]
    monkeypatch.setattr(study, "installed_encoder", lambda: tmp_path)
    assert study._encoder(None, base) == (tmp_path, "all-MiniLM-L6-v2")


def test_edits_ngrams_and_embeddings_are_of_the_pairs_that_have_every_answer() -> None:
    with_reference = [replace(PAIR, pair_id=f"pair-{n}", reference_ids=(7, 8)) for n in range(3)]
    without = [replace(PAIR, pair_id=f"none-{n}") for n in range(2)]
    assert with_all_answers([without[0], *with_reference, without[1]]) == with_reference
    assert with_all_answers(without) == without


def test_stored_held_out_answers_are_compared_with_those_of_the_base(chain: Chain) -> None:
    config, workspace = save_config(chain), chain.workspace
    chain.import_prompts()
    output = workspace.training("trained")
    shutil.copytree(chain.generation.model, output / MODEL_NAME)
    with (output / MODEL_NAME / "config.json").open("a") as file:
        file.write(" ")  # another fingerprint
    write_sealed(output / MANIFEST_NAME, asdict(TrainingManifest("trained", 1, 0, 1.0, 1, {})))
    base = generator_id(
        workspace, config.generation, held_out_sampling(config.evaluation, config.generation.model)
    )
    after = trained_generator(workspace, config, output)
    assert after is not None
    prompts = chosen_prompts(workspace.database, held_out(RUN, config, ""))
    for generator, text in ((base, "as before"), (after, "as never before")):
        save_responses(
            workspace.database,
            generator,
            [
                Response(f"{generator} {each}", each, 0, text, tuple(text.encode()), FinishReason.STOP)
                for each in prompts
            ],
        )

    def embed(texts: Sequence[str]) -> np.ndarray:
        return np.array([[float(len(text)), 1.0] for text in texts])

    models = [
        StudiedModel("FIGA", output, output / MODEL_NAME, 10),
        StudiedModel("silent", workspace.training("none"), output / MODEL_NAME, 10),
    ]
    found = held_out_shifts(workspace, find_run(workspace.database, RUN), config, models, embed)
    assert list(found) == ["FIGA"]
    assert found["FIGA"].prompts == len(prompts) > 3
    assert found["FIGA"].edit_share.mean == pytest.approx(6 / 15)


@pytest.mark.slow  # a process that computes log-probabilities, and embeddings
async def test_edits_shift_the_answers_less_than_references_do(
    make_chain: MakeChain, teacher: TeacherProcess, workspace: Workspace, sandbox: Sandbox, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in sandbox.prompts.read_text(encoding="utf-8").splitlines()[:40]]
    for row in rows[::4]:
        del row["reference"]
    some = tmp_path / "some.jsonl"
    some.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    chain = make_chain(teacher.base_url, some)
    chain.up_to_filter()
    weighed = await chain.from_revise_to_weigh()
    save_config(chain)
    save_findings(workspace.database, RUN, Findings(scorer=chain.scorer, training_scorer=chain.scorer))
    found, path = study_shift(workspace, RUN, embedder=None, tell=nothing)
    assert found.pairs == found.of_pairs == weighed.counts.n_out > 10
    shifts = found.shifts["base"]
    assert shifts["revision"].n == found.pairs
    assert 0 < (found.edit_shares["revision"].mean or 0) < (found.edit_shares["reference"].mean or 0)
    edited = {answer: each.n for answer, each in found.edit_shares.items()}
    assert edited == dict.fromkeys(("revision", "reference"), found.compared_pairs)
    assert 5 < found.compared_pairs < found.pairs
    embedded = {answer: each and each.vectors for answer, each in found.discrepancies.items()}
    assert embedded == edited
    assert len([*sentences(found)]) >= 1
    assert "Ỹ" in path.read_text(encoding="utf-8")
    written = json.loads(path.with_suffix(".json").read_bytes())
    assert written["shifts"]["base"]["revision"]["mean"] == shifts["revision"].mean
    assert written["shifts"]["base"]["revision"]["interval"] == list(shifts["revision"].interval or ())
    again, _ = study_shift(workspace, RUN, embedder=None, tell=nothing)
    assert again == found


def save_config(chain: Chain) -> PipelineConfig:
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
    return config
