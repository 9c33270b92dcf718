"""Scores and their means are those of this run and scorer; trainings are recorded once."""

from dataclasses import replace

from figa_core.storage.database import Database
from figa_core.storage.evaluations import Evaluation, save_evaluation
from figa_core.storage.responses import save_responses
from figa_core.storage.trainings import Training, save_training

from .filled import (
    GENERATOR,
    HELD_OUT,
    RUN,
    SCORER,
    TRAIN,
    candidates,
    exclude,
    held_out_values,
    response,
    scored,
)


def test_candidates_are_training_rows_with_the_reward_of_their_reference(database: Database) -> None:
    of_prompt = {c.prompt_id: c for c in scored(database)}
    assert of_prompt.keys() == {p.prompt_id for p in TRAIN}
    assert of_prompt[TRAIN[1].prompt_id].reference_reward == 9.0
    assert of_prompt[TRAIN[2].prompt_id].reference_reward is None


def test_the_values_of_a_split_are_of_sample_zero(database: Database) -> None:
    scored(database)
    save_responses(database, GENERATOR, [response(HELD_OUT[0], sample=1)])
    values = held_out_values(database)
    assert values == {p.prompt_id: float(len(TRAIN) + i) for i, p in enumerate(HELD_OUT)}
    assert len(held_out_values(database, 2)) == 2


def test_an_excluded_held_out_prompt_has_no_value(database: Database) -> None:
    scored(database)
    exclude(database, HELD_OUT[0].prompt_id)
    values = held_out_values(database)
    assert values.keys() == {p.prompt_id for p in HELD_OUT[1:]}


def test_scores_and_responses_of_another_model_are_invisible(database: Database) -> None:
    scored(database)
    assert candidates(database, generator="another generator") == []
    assert candidates(database, scorer="another scorer") == []
    assert held_out_values(database, scorer="another scorer") == {}


def test_an_evaluation_is_replaced_and_a_training_recorded_once(database: Database) -> None:
    for mean in (0.5, 0.75):
        save_evaluation(database, Evaluation(RUN, "base", "reward", GENERATOR, SCORER, 3, mean, None))
    training = Training("training-1", RUN, "figa", "shards-1", "base", "/dir", 10, 1.5)
    for seconds in (1.5, 99.0):
        save_training(database, replace(training, seconds=seconds), "fingerprint")
    columns = "n, mean, standard_error, left_out"
    assert database.fetch(f"SELECT {columns} FROM evaluations") == [(3, 0.75, None, 0)]
    assert database.fetch("SELECT seconds FROM trainings") == [(1.5,)]
    models = database.fetch("SELECT fingerprint, training_id, promoted FROM models")
    assert models == [("fingerprint", "training-1", False)]
