"""Every recipe is pinned: if a new setting with a default changed an id, work would be paid for twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from figa_core import ids
from figa_core.records import Message

MESSAGES = (Message("system", "Be brief."), Message("user", "Où est mon colis ?"))
FIELDS: dict[str, tuple[Callable[..., str], dict[str, Any]]] = {
    "prompt": (ids.prompt_id, {"messages": MESSAGES}),
    "reference": (ids.reference_id, {"prompt": "prompt-1", "text": "à Oslo"}),
    "generator": (
        ids.generator_id,
        {
            "fingerprint": "f",
            "temperature": 1.0,
            "top_p": 0.9,
            "max_tokens": 100,
            "seed": 3,
            "template": "t",
        },
    ),
    "response": (ids.response_id, {"prompt": "prompt-1", "generator": "generator-1", "sample_index": 2}),
    "benchmark": (
        ids.benchmark_id,
        {
            "model": "f",
            "harness": "0.4.13",
            "task": "mmlu",
            "engine": "vllm",
            "settings": {"chat_template": True, "limit": 10},
        },
    ),
    "scorer": (ids.scorer_id, {"fingerprint": "f", "max_length": 512}),
    "reward": (ids.reward_form_id, {"fingerprint": "f", "label": 1, "template": "t"}),
    "verifier": (ids.verifier_id, {"name": "module:function", "source": "s"}),
    "run": (
        ids.run_id,
        {
            "prompts": "p",
            "generator": "g",
            "scorer": "s",
            "reviser": {"model": "m"},
            "settings": {"a": 1},
        },
    ),
    "revision": (
        ids.revision_id,
        {
            "response": "response-1",
            "reference": None,
            "template": "text",
            "model": "m",
            "temperature": 0.0,
            "max_tokens": 256,
        },
    ),
    "correction": (ids.correction_id, {"corrected": "revision-1", "text": "better", "author": "ada"}),
    "preference": (ids.preference_pair_id, {"chosen": "answer-1", "rejected": "answer-2"}),
    "preferences": (ids.preference_set_id, {"pairs": ("pair-1", "pair-2")}),
    "reward-head": (
        ids.reward_head_id,
        {
            "start": "f",
            "pairs": "p",
            "share": 1,
            "noise": 0.1,
            "steps": 20,
            "max_length": 512,
            "learning_rate": None,
        },
    ),
    "comparison": (
        ids.comparison_id,
        {
            "model": "m",
            "template": "t",
            "rubric": None,
            "temperature": 0,
            "max_tokens": 100,
            "generators": ("one", "other"),
        },
    ),
    "grade": (
        ids.grade_id,
        {
            "messages": (Message("user", "hi"), Message("assistant", "hello")),
            "response": "a",
            "revision": "a b c",
            "reference": None,
            "words": ((2, 3), (4, 5)),
            "scheme": "llm_graded",
            "template": "text",
            "model": "m",
            "temperature": 0.0,
            "max_tokens": 256,
        },
    ),
    "program": (
        ids.program_id,
        {"name": "rewards:facts", "source": "f" * 64, "fields": ("answer", "type"), "rows": None},
    ),
    "judge": (
        ids.judge_id,
        {
            "model": "m",
            "template": "text",
            "rubric": None,
            "highest_score": 10,
            "temperature": 0.0,
            "max_tokens": 256,
            "fields": ("answer", "type"),
            "rows": "rows",
        },
    ),
    "judgement": (
        ids.judgement_id,
        {
            "messages": ({"role": "system", "content": "hi"}, {"role": "user", "content": "hello"}),
            "highest_score": 10,
            "model": "m",
            "temperature": 0.0,
            "max_tokens": 256,
        },
    ),
    "combined": (ids.combined_id, {"parts": (("s", 1.0), ("t", -2.0)), "responses": "r"}),
    "samples": (
        ids.sample_set_id,
        {"prompts": "p", "settings": {"prompt_field": "prompt"}, "generator": "g", "samples": 2},
    ),
    "shards": (
        ids.shard_set_id,
        {
            "pairs": ("revision-1", "revision-2"),
            "tokenizer": "k",
            "template": "t",
            "scorer": "s",
            "scheme": "levenshtein",
            "max_length": 64,
        },
    ),
    "training": (
        ids.training_id,
        {
            "model": "m",
            "shards": "s",
            "steps": 10,
            "settings": {
                "objective": "figa",
                "alpha": 1.0,
                "beta": 0.5,
                "gamma": 0.0,
                "negative_nll_max": 0.6,
                "learning_rate": 1e-5,
                "pairs_per_step": 8,
                "dtype": "float32",
                "seed": 0,
            },
        },
    ),
    "sweep": (
        ids.sweep_id,
        {
            "model": "m",
            "shards": "s",
            "steps": 4,
            "rates": (1e-5, 3e-5, 9e-5),
            "settings": {"objective": "figa", "pairs_per_step": 8},
        },
    ),
    "rl-training": (
        ids.rl_training_id,
        {
            "model": "m",
            "scorer": "s",
            "prompts": "p",
            "trainer": "TRL 1.16",
            "settings": {"method": "grpo", "seed": 0},
        },
    ),
    "log-probs": (
        ids.reference_log_probs_id,
        {"model": "m", "shards": "s", "answers": ("response", "revision")},
    ),
}
GOLDEN = {
    "benchmark": "benchmark-s256-f3768c0e50679a51fb48f730d396332f",
    "comparison": "comparison-s256-5b950c26c5fd34dc8092007186bdedc7",
    "preference": "preference-s256-135465cd10874dd4da193c5bc7f13c01",
    "preferences": "preferences-s256-2afd0403c22f3373b7679cd60e622b51",
    "reward-head": "reward-head-s256-f6b8d0f4f1ef0f9df6758eb0475cb5c7",
    "prompt": "prompt-s256-905a433738da1d5747b97a49474771fe",
    "reference": "reference-s256-f2bc0beec98292c57f95a6cf3f1ee6d7",
    "generator": "generator-s256-8f50ff69c862d70ab22f1dbbcdab639d",
    "response": "response-s256-0bbfc56aafd6051d4471a157cfc36213",
    "scorer": "scorer-s256-7e36cdd5257278fa628df49699dcaa53",
    "reward": "reward-s256-bd0c1999d79d44dadc51b50192393995",
    "verifier": "verifier-s256-34a93f602d98b246f1c39d78f76b87e7",
    "run": "run-s256-4df77f2a9f95d5d9579475ccc79af520",
    "revision": "revision-s256-452693be612248fc2d638a9749eda8b2",
    "correction": "correction-s256-18da2d02dbcd5a8f72c1e1b1f4117858",
    "grade": "grade-s256-bd6b8ffef86683a5f22496ce07b47e14",
    "program": "program-s256-2a052ea7e10653ec7c49d949f3d33bfc",
    "judge": "judge-s256-70c0074fe4c43d8130769302fea3f769",
    "judgement": "judgement-s256-82aa181249d124d39798240eee6e1cd9",
    "combined": "combined-s256-7dc5d7e85fe5b13d9bd23ef88ec0227e",
    "samples": "samples-s256-37aa3d220900e1c130e1938811a42777",
    "shards": "shards-s256-7cb681f06d0b4fd4307be4d3c498e0d1",
    "training": "training-s256-2ef8df1537c4c3df19e5b5ff53066f46",
    "sweep": "sweep-s256-d299dc9ff285cc456c7dd9b21866faba",
    "rl-training": "rl-training-s256-cdff236bd1f40f63a7db17670baec3dd",
    "log-probs": "log-probs-s256-9b9e5c1f36dfcb7f3be2787c8aa7b9e0",
}


@pytest.mark.parametrize("kind", FIELDS)
def test_a_recipe_gives_the_id_it_always_gave(kind: str) -> None:
    recipe, fields = FIELDS[kind]
    assert recipe(**fields) == GOLDEN[kind]


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, (_, f) in FIELDS.items() for field in f])
def test_every_named_field_changes_the_id(kind: str, field: str) -> None:
    recipe, fields = FIELDS[kind]
    others: dict[type, Any] = {str: "another", int: 77, float: 0.125, type(None): "another"}
    other = others.get(type(fields[field]))
    if isinstance(fields[field], dict):
        other = {"another": 1}
    elif isinstance(fields[field], tuple):
        other = fields[field][:1]
    assert recipe(**{**fields, field: other}) != recipe(**fields)


@pytest.mark.parametrize(
    ("kind", "field"),
    [(k, f) for k, (_, fields) in FIELDS.items() for f in fields if type(fields[f]) is float],
)
def test_a_whole_number_is_the_same_as_its_float(kind: str, field: str) -> None:
    recipe, fields = FIELDS[kind]
    assert recipe(**{**fields, field: 2}) == recipe(**{**fields, field: 2.0})


def test_further_sampling_and_template_variables_change_a_generators_id_and_none_do_not() -> None:
    recipe, fields = FIELDS["generator"]
    assert recipe(**fields, sampling={}, variables={}) == GOLDEN["generator"]
    others = [
        recipe(**fields, **more)
        for more in ({"sampling": {"top_k": 5}}, {"sampling": {"top_k": 6}}, {"variables": {"top_k": 5}})
    ]
    assert len({GOLDEN["generator"], *others}) == 4


def test_what_becomes_of_thoughts_changes_the_id_of_a_shard_set_unless_they_are_put_back() -> None:
    recipe, fields = FIELDS["shards"]
    assert recipe(**fields, thoughts=None) == GOLDEN["shards"] != recipe(**fields, thoughts="cut")


def test_template_variables_change_the_digest_of_prompts() -> None:
    found = [
        ids.prompts_digest(["p"], "tokenizer", "template", variables)
        for variables in (None, {}, {"thinking": False}, {"thinking": True})
    ]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_label_and_template_change_a_scorers_id_and_none_do_not() -> None:
    recipe, fields = FIELDS["scorer"]
    assert recipe(**fields, label=None, template=None) == GOLDEN["scorer"]
    others = [recipe(**fields, **more) for more in ({"label": 0}, {"label": 1}, {"template": "t"})]
    assert len({GOLDEN["scorer"], *others}) == 4


def test_scores_change_the_id_of_a_shard_set_and_none_do_not() -> None:
    recipe, fields = FIELDS["shards"]
    assert recipe(**fields, scores=None) == GOLDEN["shards"]
    several = [recipe(**fields, scores=scores) for scores in (("5 0", ""), ("5", "0"), ("", "5 0"), ())]
    assert len({*several, GOLDEN["shards"]}) == 5


def test_smaller_last_steps_change_the_id_and_the_default_does_not() -> None:
    recipe, fields = FIELDS["training"]
    assert recipe(**fields, smaller_last_steps=False) == GOLDEN["training"]
    assert recipe(**fields, smaller_last_steps=True) == "training-s256-7e80cbe8e6f3110ffda4d105ae4fbcaf"


def test_best_samples_change_the_id_of_a_shard_set_and_one_without_them_keeps_its_id() -> None:
    recipe, fields = FIELDS["shards"]
    assert recipe(**fields, best=None) == GOLDEN["shards"]
    found = {recipe(**fields, best=best) for best in ((), ("response-1",), ("response-1", "response-2"))}
    assert len(found | {GOLDEN["shards"]}) == 4
    assert recipe(**fields, best=("response-1",)) == "shards-s256-0ed2ee5dd5275ebeab4b38dfbd1b7049"


def test_another_order_or_split_of_messages_and_pairs_changes_the_id() -> None:
    assert ids.prompt_id(MESSAGES[::-1]) != ids.prompt_id(MESSAGES)
    recipe, fields = FIELDS["shards"]
    for pairs in (fields["pairs"][::-1], ("revision-1revision-2",), ()):
        assert recipe(**{**fields, "pairs": pairs}) != recipe(**fields)


def test_pairs_may_be_streamed() -> None:
    recipe, fields = FIELDS["shards"]
    assert recipe(**{**fields, "pairs": iter(fields["pairs"])}) == GOLDEN["shards"]


def test_the_order_of_named_settings_does_not_count() -> None:
    recipe, fields = FIELDS["run"]
    one, other = ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert recipe(**{**fields, "settings": one}) == recipe(**{**fields, "settings": other})


def test_another_kind_or_recipe_changes_the_id() -> None:
    assert len({ids.content_id("a", 1, x=1), ids.content_id("b", 1, x=1), ids.content_id("a", 2, x=1)}) == 3


def test_a_number_that_is_not_finite_has_no_id() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        ids.content_id("a", 1, x=float("nan"))


def test_the_fingerprint_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert ids.file_fingerprint(tmp_path / "a") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_ids_name_their_kind_and_algorithm() -> None:
    for kind, golden in GOLDEN.items():
        assert golden.startswith(f"{kind}-s256-")
        assert len(golden.rpartition("-")[2]) == 32


def test_a_revision_without_a_temperature_has_another_id():
    fields = {"response": "r", "reference": None, "template": "t", "model": "m", "max_tokens": 8}
    none = ids.revision_id(**fields, temperature=None)  # type: ignore[arg-type]
    assert none != ids.revision_id(**fields, temperature=0.0)  # type: ignore[arg-type]
    assert none == ids.revision_id(**fields, temperature=None)  # type: ignore[arg-type]
