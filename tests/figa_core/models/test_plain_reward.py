"""Reward models as they are published give the values of the same model in transformers' own form."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from figa_core.errors import EngineError
from figa_core.inference.engine import Scoring
from figa_core.inference.transformers import TransformersScorer
from figa_core.models.check import examine, require_model
from figa_core.models.plain_reward import reward_offset, write_plain_form
from figa_core.models.role import ModelRole
from figa_core.ports import RowFailure, ScoringRequest
from tests.figa_core.models.conftest import edit, save

REWARD = ModelRole.REWARD
TEXTS = [ScoringRequest(f"text-{n}", tuple(range(3, 4 + n))) for n in (2, 9, 5)]


def values(model: Path) -> list[float]:
    rows = [row for batch in TransformersScorer(Scoring(model, 32)).score(TEXTS) for row in batch]
    found = {row[0]: row[1] for row in rows if not isinstance(row, RowFailure)}
    return [found[text.subject_id] for text in TEXTS]


def republish(model: Path, **named: torch.Tensor | None) -> None:
    """The same model with other weights for its head; "__" is a dot in their names."""
    path = model / "model.safetensors"
    weights = {**load_file(path), **{name.replace("__", "."): value for name, value in named.items()}}
    save_file({k: v for k, v in weights.items() if v is not None}, path, {"format": "pt"})


def plain_form(model: Path, label: int | str | None = None) -> Path:
    target = model.with_name("plain")
    write_plain_form(model, target, label)
    return target


def head_of(model: Path) -> torch.Tensor:
    return load_file(model / "model.safetensors")["score.weight"]


@pytest.mark.parametrize("name", ["v_head__summary", "value_head", "regression_head", "score_head", "v_head"])
def test_a_head_under_another_name_is_found_with_its_bias(reward: Path, name: str) -> None:
    expected, head = values(reward), head_of(reward)
    # Such models call themselves causal ones, and say nothing of labels: transformers assumes two.
    republish(reward, score__weight=None, **{f"{name}__weight": head, f"{name}__bias": torch.tensor([1.5])})
    config = {"architectures": ["LlamaForCausalLM"], "id2label": None, "label2id": None}
    edit(reward / "config.json", **config)
    assert examine(reward, REWARD).problems == []
    plain = plain_form(reward)
    require_model(plain, REWARD)
    assert reward_offset(plain) == 1.5
    assert values(plain) == pytest.approx([value + 1.5 for value in expected], abs=1e-6)


def test_a_head_in_a_file_of_its_own_is_found_and_the_models_own_files_are_linked(reward: Path) -> None:
    expected, head = values(reward), head_of(reward)
    republish(reward, score__weight=None)
    own = {"v_head.summary.weight": head.bfloat16(), "v_head.summary.bias": torch.tensor([-2.5]).bfloat16()}
    save_file(own, reward / "value_head.safetensors", {"format": "pt"})
    plain = plain_form(reward)
    assert values(plain) == pytest.approx([value - 2.5 for value in expected], abs=0.02)
    linked = [path.resolve() for path in plain.glob("*.safetensors") if path.is_symlink()]
    assert linked == [reward / "model.safetensors"]


@pytest.mark.parametrize("label", [1, "1", "good"])
def test_of_several_labels_the_reward_is_the_one_that_is_named(reward: Path, label: int | str) -> None:
    expected, head = values(reward), head_of(reward)
    republish(reward, score__weight=torch.cat([head + 1, head, -head]))
    edit(reward / "config.json", id2label={"0": "bad", "1": "good", "2": "odd"}, num_labels=3)
    with pytest.raises(EngineError, match=r"this one has 3 \(0: bad, 1: good, 2: odd\)\. Say which"):
        require_model(reward, REWARD)
    plain = plain_form(reward, label)
    require_model(plain, REWARD)
    assert values(plain) == pytest.approx(expected, abs=1e-6)


def test_the_row_of_an_encoders_head_is_taken_with_its_bias(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    two = save(tmp_path / "two", "bert", classifier=True, num_labels=2)
    republish(two, classifier__bias=torch.tensor([0.25, 4.0]))
    ids = torch.tensor([[3, 4, 5]])
    both, one = (
        AutoModelForSequenceClassification.from_pretrained(path).eval()(ids).logits
        for path in (two, plain_form(two, "LABEL_1"))
    )
    assert one[0].tolist() == pytest.approx([both[0, 1].item()], abs=1e-6)


@pytest.mark.parametrize(("label", "words"), [("best", "has no label 'best'"), (3, "has no label 3")])
def test_a_label_that_the_model_lacks_is_refused(reward: Path, label: int | str, words: str) -> None:
    assert words in "\n".join(examine(reward, REWARD, label).problems)
    assert "it has 0: LABEL_0" in "\n".join(examine(reward, REWARD, label).problems)


def test_no_engine_loads_a_head_under_another_name_as_it_is(reward: Path) -> None:
    republish(reward, score__weight=None, v_head__weight=head_of(reward))
    with pytest.raises(EngineError, match=r"its head is v_head\.weight, and engines load score\.weight"):
        TransformersScorer(Scoring(reward, 32))


def test_two_weights_that_may_be_the_head_are_named(reward: Path) -> None:
    head = head_of(reward)
    republish(reward, score__weight=None, v_head__weight=head, critic__weight=head.clone())
    [problem] = [p for p in examine(reward, REWARD).problems if "several" in p]
    assert "(critic.weight, v_head.weight). Save the model with the right one as score.weight" in problem


def test_a_policy_has_no_head_whatever_its_weights_are_called(policy: Path) -> None:
    found = examine(policy, REWARD)
    assert found.head is None
    assert any("lacks weights of the classification head (score.weight)" in words for words in found.problems)


def test_another_missing_weight_is_still_refused(reward: Path) -> None:
    republish(
        reward,
        score__weight=None,
        v_head__weight=head_of(reward),
        model__layers__1__mlp__up_proj__weight=None,
    )
    assert any(
        "lacks weights (model.layers.1.mlp.up_proj" in words for words in examine(reward, REWARD).problems
    )
    with pytest.raises(EngineError, match="lacks weights"):
        plain_form(reward)
    assert not reward.with_name("plain").exists()


def test_the_template_of_the_settings_takes_the_place_of_the_models(reward: Path) -> None:
    (reward / "chat_template.jinja").write_text("theirs")
    (reward / "tokenizer.json").write_text("{}")
    target = reward.with_name("plain")
    write_plain_form(reward, target, None, "ours")
    assert (target / "chat_template.jinja").read_text() == "ours"
    assert (reward / "chat_template.jinja").read_text() == "theirs"
    assert (target / "tokenizer.json").resolve() == reward / "tokenizer.json"
    shutil.rmtree(target)
    assert (reward / "model.safetensors").exists(), "only links are removed"
