"""Fills a database with a run's prompts and the results of each stage."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from figa_core import ids
from figa_core.filtering import Candidate
from figa_core.records import (
    AdmittedPair,
    Decision,
    FinishReason,
    Message,
    Prompt,
    Response,
    RevisionStatus,
    Score,
    Split,
)
from figa_core.storage.admitted import AdmittedPairs
from figa_core.storage.database import Database
from figa_core.storage.evaluations import prompt_values
from figa_core.storage.pairs import (
    Admissible,
    RevisionRecipe,
    RunScores,
    decide_admissions,
    iter_candidates,
    replace_pairs,
)
from figa_core.storage.responses import (
    Sample,
    Samples,
    count_missing_samples,
    iter_missing_samples,
    save_responses,
)
from figa_core.storage.revisions import iter_open
from figa_core.storage.scores import save_scores

RUN, OTHER = "run-1", "run-2"
GENERATOR, SCORER = "generator", "scorer"
RECIPE = RevisionRecipe("m", 0.0, 64, {True: "with reference", False: "without"})


def prompt(index: int, split: Split = Split.TRAIN, reference: str | None = None) -> Prompt:
    messages = (Message("user", f"question {index}"),)
    prompt_id = ids.prompt_id(messages)
    reference_id = None if reference is None else ids.reference_id(prompt_id, reference)
    return Prompt(prompt_id, messages, split, reference, reference_id)


TRAIN = [prompt(i, reference=f"good {i}" if i % 2 else None) for i in range(6)]
HELD_OUT = [prompt(i, Split.HELD_OUT, "good") for i in range(10, 13)]


def response(of: Prompt, sample: int = 0) -> Response:
    response_id = ids.response_id(of.prompt_id, GENERATOR, sample)
    return Response(response_id, of.prompt_id, sample, "an answer", (1, 2, 3), FinishReason.STOP)


def missing(
    database: Database, run: str = RUN, split: Split = Split.TRAIN, samples: int = 1, limit: int | None = None
) -> list[Sample]:
    wanted = Samples(run, GENERATOR, split, samples, limit)
    pages = iter_missing_samples(database, wanted)
    found = [sample for page in pages for sample in page]
    assert count_missing_samples(database, wanted) == len(found)
    return found


def scored(database: Database) -> list[Candidate]:
    """Every prompt has a response; responses are scored by their number, and references 9."""
    responses = [response(p) for p in (*TRAIN, *HELD_OUT)]
    save_responses(database, GENERATOR, responses)
    save_scores(database, [Score(r.response_id, SCORER, float(i)) for i, r in enumerate(responses)])
    save_scores(database, [Score(p.reference_id, SCORER, 9.0) for p in TRAIN if p.reference_id is not None])
    return candidates(database)


def held_out_values(database: Database, limit: int = 10, scorer: str = SCORER) -> dict[str, float]:
    return prompt_values(database, Samples(RUN, GENERATOR, Split.HELD_OUT, max_prompts=limit), scorer)


def candidates(database: Database, generator: str = GENERATOR, scorer: str = SCORER) -> list[Candidate]:
    return [c for page in iter_candidates(database, RunScores(RUN, generator, scorer)) for c in page]


def keep_all(database: Database, run: str = RUN, recipe: RevisionRecipe = RECIPE, *, but: str = "") -> None:
    """Keeps every candidate, except for the response `but`."""

    def keep(page: Sequence[Candidate]) -> dict[str, Decision]:
        good, weak = Decision(False, "good enough"), Decision(True, "weak")
        return {c.response_id: good if c.response_id == but else weak for c in page}

    replace_pairs(database, RunScores(run, GENERATOR, SCORER), keep, recipe, page_rows=2)


def admit_all(database: Database, *, but: str = "") -> list[Admissible]:
    """Admits every revision, except the one of the response `but`; returns what had to be decided."""
    seen: list[Admissible] = []

    def admit(page: Sequence[Admissible]) -> dict[str, Decision]:
        seen.extend(page)
        return {row.response_id: Decision(row.response_id != but, "decided") for row in page}

    decide_admissions(database, RUN, SCORER, admit, page_rows=2)
    return seen


def exclude(database: Database, *subjects: str) -> None:
    database.insert("exclusions", [{"subject_id": subject, "reason": "no"} for subject in subjects])


def kept(database: Database, run: str = RUN) -> list[str]:
    """Keeps all candidates; returns the revision ids."""
    scored(database)
    keep_all(database, run)
    return [request.revision_id for page in iter_open(database, run, 2) for request in page]


def settle(database: Database, revision_id: str, status: RevisionStatus, *, retryable: bool = False) -> None:
    database.execute(
        "UPDATE revisions SET status = $status, retryable = $again, text = 'better' WHERE revision_id = $id",
        id=revision_id,
        status=status,
        again=retryable,
    )


def admitted(database: Database) -> list[str]:
    """Keeps, revises, scores and admits all pairs; returns the revision ids in order."""
    revisions = kept(database)
    for revision in revisions:
        settle(database, revision, RevisionStatus.SUCCEEDED)
    save_scores(database, [Score(revision, SCORER, 5.5) for revision in revisions])
    admit_all(database)
    return revisions


def admitted_pairs(database: Database, run: str = RUN, *, only_undecided: bool = False) -> list[AdmittedPair]:
    with tempfile.TemporaryDirectory() as scratch:
        pairs = AdmittedPairs(database, run, SCORER, Path(scratch), only_undecided=only_undecided)
        found = [pair for page in pairs.pages() for pair in page]
        assert list(pairs.ids()) == [pair.pair_id for pair in found]
        assert len(pairs) == len(found)
        return found


def undecided(database: Database) -> list[str]:
    return [pair.pair_id for pair in admitted_pairs(database, only_undecided=True)]
