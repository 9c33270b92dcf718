"""The snapshot of admitted pairs: complete and in order, over many buckets, without those of another run."""

from pathlib import Path

import pytest

from figa_core.records import AdmittedPair, FinishReason, Message, Prompt, Response, Score, Split
from figa_core.storage import admitted
from figa_core.storage.admitted import AdmittedPairs, save_skipped
from figa_core.storage.database import Database
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import save_responses
from figa_core.storage.scores import save_scores
from tests.figa_core.storage.empty import new_database


def pair(index: int) -> AdmittedPair:
    number = f"{index * 7919 % 10_007:05d}"  # ids in another order than the rows
    return AdmittedPair(
        pair_id=f"revision-{number}",
        messages=(Message("user", f"question {number}"),),
        response_text=f"answer {number}",
        response_finish=FinishReason.LENGTH if index % 5 == 0 else FinishReason.STOP,
        revision_text=f"better {number}",
        reference_text=f"best {number}" if index % 3 else None,
        response_reward=-float(index),
        revision_reward=float(index),
        response_token_ids=tuple(range(index % 4)),
    )


def fill(database: Database, pairs: list[AdmittedPair]) -> None:
    """Stores the pairs as the earlier stages would; every id is made of the revision's."""
    prompts, responses, revisions, decisions, scores = [], [], [], [], []
    for one in pairs:
        key = one.pair_id
        prompt, reference = f"prompt-{key}", one.reference_text and f"reference-{key}"
        prompts.append(Prompt(prompt, one.messages, Split.TRAIN, one.reference_text, reference))
        response = f"response-{key[::-1]}"
        answer = (one.response_text, one.response_token_ids, one.response_finish)
        responses.append(Response(response, prompt, 0, *answer))
        row = {"revision_id": key, "response_id": response}
        revisions.append({**row, "reference_id": reference, "text": one.revision_text})
        decisions.append({**row, "prompt_id": prompt})
        for subject, value in ((response, one.response_reward), (key, one.revision_reward)):
            scores += [Score(subject, "s", value), Score(subject, "other", 99.0)]
    save_prompts(database, "run", prompts)
    save_responses(database, "g", responses)
    database.insert("revisions", [{**row, "model": "m", "status": "succeeded"} for row in revisions])
    kept = {"run_id": "run", "kept": True, "keep_reason": "", "scorer_id": "s", "admitted": True}
    database.insert("pairs", [{**row, **kept} for row in decisions])
    save_scores(database, scores)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    database = new_database(tmp_path_factory.mktemp("workspace") / "figa.duckdb")
    fill(database, [pair(index) for index in range(3000)])
    return database


def expected(pairs: int) -> list[AdmittedPair]:
    return sorted((pair(index) for index in range(pairs)), key=lambda one: one.pair_id)


@pytest.mark.parametrize("most_buckets", [512, 2], ids=["many buckets", "few and large buckets"])
def test_every_pair_comes_back_complete_and_in_order(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_buckets: int
) -> None:
    monkeypatch.setattr(admitted, "_MOST_BUCKETS", most_buckets)
    pairs = AdmittedPairs(database, "run", "s", tmp_path / "missing" / "scratch")
    pages = list(pairs.pages())
    assert len(pages) == min(most_buckets, 3)
    assert max(map(len, pages)) - min(map(len, pages)) < 100  # none is much larger than the others
    assert [one for page in pages for one in page] == expected(3000)
    assert list(pairs.ids()) == [one.pair_id for one in expected(3000)]
    assert len(pairs) == 3000


def test_the_database_is_free_while_pairs_are_read(database: Database, tmp_path: Path) -> None:
    pages = AdmittedPairs(database, "run", "s", tmp_path).pages()
    next(pages)
    database.execute("UPDATE revisions SET text = text")
    assert sum(map(len, pages)) == 3000 - 1024


def test_files_of_a_killed_run_in_scratch_are_not_read(database: Database, tmp_path: Path) -> None:
    (tmp_path / "places-000.arrow").write_bytes(b"half a file")
    assert len(list(AdmittedPairs(database, "run", "s", tmp_path).ids())) == 3000
    assert list(AdmittedPairs(database, "another run", "s", tmp_path).pages()) == []


def test_a_scorer_without_scores_has_no_pairs(database: Database, tmp_path: Path) -> None:
    assert len(AdmittedPairs(database, "run", "unknown", tmp_path)) == 0


def test_skipped_pairs_are_left_out_only_if_that_is_asked_for(tmp_path: Path) -> None:
    database = new_database(tmp_path / "workspace" / "figa.duckdb")
    fill(database, [pair(index) for index in range(4)])
    first, second, *others = expected(4)
    save_skipped(database, "run", dict.fromkeys([first.pair_id, second.pair_id], "too long"))
    every = AdmittedPairs(database, "run", "s", tmp_path / "scratch")
    assert list(every.ids()) == [one.pair_id for one in (first, second, *others)]
    undecided = AdmittedPairs(database, "run", "s", tmp_path / "scratch", only_undecided=True)
    assert list(undecided.pages()) == [others]


def test_the_first_pair_of_a_prompt_has_the_best_of_its_first_samples(tmp_path: Path) -> None:
    """By the reward of this scorer, without samples that a person excluded; of equal ones the first."""
    database = new_database(tmp_path / "workspace" / "figa.duckdb")
    pairs = [pair(index) for index in range(3)]
    fill(database, pairs)
    prompt = f"prompt-{pairs[0].pair_id}"
    rewards = {1: 0.5, 2: 7.0, 3: 7.0, 4: 9.0}
    samples = [
        Response(f"sample-{index}", prompt, index, f"text {index}", (), FinishReason.LENGTH)
        for index in rewards
    ]
    save_responses(database, "g", samples)
    save_responses(database, "another model", [Response("other", prompt, 1, "x", (), FinishReason.STOP)])
    scores = [Score(f"sample-{index}", "s", reward) for index, reward in rewards.items()]
    save_scores(database, [*scores, Score("sample-1", "other", 99.0), Score("other", "s", 99.0)])
    second = {"run_id": "run", "prompt_id": prompt, "kept": True, "keep_reason": "", "scorer_id": "s"}
    row = {"revision_id": "revision-zzz", "response_id": "sample-1"}  # the last by its id
    database.insert("revisions", [{**row, "text": "better", "model": "m", "status": "succeeded"}])
    database.insert("pairs", [{**second, **row, "admitted": True}])
    save_scores(database, [Score("revision-zzz", "s", 3.0)])

    def best(best_of: int | None) -> dict[str, tuple[str | None, FinishReason | None]]:
        found = AdmittedPairs(database, "run", "s", tmp_path / "scratch", best_of=best_of)
        texts = {one.pair_id: (one.best_text, one.best_finish) for page in found.pages() for one in page}
        assert len(list(found.best_ids())) == sum(text is not None for text, _ in texts.values())
        return texts

    own = {one.pair_id: (one.response_text, one.response_finish) for one in pairs}
    without = (None, None)
    for samples_per_prompt, text in ((1, None), (2, "text 1"), (3, "text 2"), (4, "text 2"), (5, "text 4")):
        expected = own if text is None else own | {pairs[0].pair_id: (text, FinishReason.LENGTH)}
        assert best(samples_per_prompt) == expected | {"revision-zzz": without}
    assert set(best(None).values()) == {without}
    database.insert("exclusions", [{"subject_id": "sample-4", "reason": "wrong"}])
    assert best(5)[pairs[0].pair_id][0] == "text 2"
