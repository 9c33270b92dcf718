"""Both models before a run: their files, tokenizers, templates and lengths."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from figa_core.errors import ConfigError
from figa_core.findings import Finding
from figa_core.sandbox.build import Sandbox
from flows.checks import models
from flows.checks.facts import Facts

from .conftest import MakeFacts, rows

NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{{ '<|' + m.role + '|>' + m.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
LENGTHS: dict[str, dict[str, Any]] = {
    "prompts": {"max_prompt_tokens": 412},
    "generation": {"max_tokens": 100},
    "reward": {"max_length": 512},
    "weighting": {"max_length": 512},
}
WITH_SYSTEM = {
    "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is it?"}]
}


@pytest.fixture
def base(sandbox: Sandbox, tmp_path: Path) -> Path:
    return shutil.copytree(sandbox.base_model, tmp_path / "base")


@pytest.fixture
def reward(sandbox: Sandbox, tmp_path: Path) -> Path:
    return shutil.copytree(sandbox.reward_model, tmp_path / "reward")


def findings_of(check: Callable[[Facts], Iterator[Finding]], facts: Facts) -> list[str]:
    return [f"{'' if finding.is_problem else 'warning: '}{finding}" for finding in check(facts)]


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.usefixtures("base", "reward")
def test_good_models_give_no_findings(facts: MakeFacts) -> None:
    made = facts(**LENGTHS)
    for check in (
        models.check_generation_model,
        models.check_reward_model,
        models.check_templates_on_prompts,
        models.check_generation_lengths,
        models.check_reward_lengths,
    ):
        assert findings_of(check, made) == []


@pytest.mark.usefixtures("base", "reward")
def test_prompts_whose_answers_would_be_cut_off_are_counted(facts: MakeFacts) -> None:
    content = [*rows(3), {"prompt": "Where is my order? " * 20}]
    assert findings_of(models.check_templates_on_prompts, facts(content, **LENGTHS)) == []
    for section, words in (("weighting", "the end of a longer text"), ("reward", "the beginning")):
        short = {**LENGTHS, section: {"max_length": 150}}
        [line] = findings_of(models.check_templates_on_prompts, facts(content, **short))
        assert line.startswith(
            f"warning: {section}.max_length: 1 of the first 4 prompts and an answer of generation.max_tokens"
        )
        assert words in line
    short = {section: {"max_length": 150} for section in ("weighting", "reward")}
    left_out = {**LENGTHS, **short, "prompts": {"max_prompt_tokens": 60}}
    [line] = findings_of(models.check_templates_on_prompts, facts(content, **left_out))
    assert "more than prompts.max_prompt_tokens" in line, "a prompt that is not used is not cut off"


@pytest.mark.usefixtures("reward")
def test_a_model_given_for_the_other_is_refused(facts: MakeFacts, base: Path) -> None:
    swapped = facts(generation={"model": "reward"}, reward={"model": "base"})
    assert any(
        "not a causal language model" in line for line in findings_of(models.check_generation_model, swapped)
    )
    assert any("it is not a reward model" in line for line in findings_of(models.check_reward_model, swapped))


@pytest.mark.usefixtures("base")
def test_it_is_said_which_value_is_the_reward_of_a_model_in_another_form(
    facts: MakeFacts, reward: Path
) -> None:
    path = reward / "model.safetensors"
    weights = load_file(path)
    head = weights.pop("score.weight")
    save_file({**weights, "v_head.summary.weight": head}, path, {"format": "pt"})
    [line] = findings_of(models.check_reward_model, facts())
    assert line.startswith("warning: reward.model: its head is v_head.summary.weight; the reward is the raw")
    lines = findings_of(models.check_reward_model, facts(reward={"engine": "server"}))
    assert "vLLM's servers of whatever their memory holds" in lines[0]

    edit(reward / "config.json", id2label={"0": "bad", "1": "good"})
    save_file({**weights, "score.weight": torch.cat([-head, head])}, path, {"format": "pt"})
    [line] = findings_of(models.check_reward_model, facts())
    assert "this one has 2 (0: bad, 1: good). Say which of them is the reward" in line
    [line] = findings_of(models.check_reward_model, facts(reward={"label": "good"}))
    assert "it has 2 labels; the reward is the raw value of good (number 1)" in line


@pytest.mark.usefixtures("base")
def test_a_template_from_the_settings_takes_the_place_of_a_missing_one(
    facts: MakeFacts, reward: Path, tmp_path: Path
) -> None:
    template = reward / "chat_template.jinja"
    template.rename(tmp_path / "rating.jinja")
    settings = {"chat_template": "rating.jinja"}
    assert findings_of(models.check_reward_model, facts(reward=settings)) == []
    with pytest.raises(ConfigError, match=r"reward\.chat_template = .*nowhere\.jinja: cannot be read"):
        findings_of(models.check_reward_model, facts(reward={"chat_template": "nowhere.jinja"}))


def test_a_tokenizer_with_more_tokens_than_the_embedding_has_rows_is_refused(
    facts: MakeFacts, base: Path
) -> None:
    weights = load_file(base / "model.safetensors")
    name = "model.embed_tokens.weight"
    save_file({**weights, name: weights[name][:-1].clone()}, base / "model.safetensors", {"format": "pt"})
    edit(base / "config.json", vocab_size=weights[name].shape[0] - 1)
    [line] = findings_of(models.check_generation_model, facts())
    assert "the tokenizer has 1 tokens that the model does not know" in line


def test_a_model_without_a_template_is_a_warning_and_a_reward_model_needs_a_setting(
    facts: MakeFacts, base: Path, reward: Path
) -> None:
    for model in (base, reward):
        (model / "chat_template.jinja").unlink()
    [line] = findings_of(models.check_generation_model, facts())
    assert line.startswith("warning: generation.model: ")
    assert "has no chat template; a plain one is used instead" in line
    [line] = findings_of(models.check_reward_model, facts())
    assert line.startswith("reward.model: ")
    assert "set reward.plain_template = true" in line
    assert findings_of(models.check_reward_model, facts(reward={"plain_template": True})) == []


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for %}", "cannot render a question and an answer"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ raise_exception('no') }}", "refuses these messages: no"),
        ("{{ messages[0].nothing.more }}", "nothing"),
    ],
)
@pytest.mark.parametrize("which", ["base", "reward"])
def test_the_error_for_a_template_that_cannot_render_names_the_model(
    facts: MakeFacts, base: Path, reward: Path, which: str, template: str, words: str
) -> None:
    model = {"base": base, "reward": reward}[which]
    (model / "chat_template.jinja").write_text(template)
    check = {"base": models.check_generation_model, "reward": models.check_reward_model}[which]
    with pytest.raises(Exception, match=rf"{model}.*{words}"):
        findings_of(check, facts())


@pytest.mark.parametrize(
    ("template", "left_out"),
    [
        ("{{ messages[-1].content }}", []),
        ("{{ messages[0].content }}", ["answer"]),
        ("Hello", ["question", "answer"]),
    ],
)
def test_a_template_that_leaves_out_question_or_answer_is_refused(
    facts: MakeFacts, reward: Path, template: str, left_out: list[str]
) -> None:
    (reward / "chat_template.jinja").write_text(template)
    lines = findings_of(models.check_reward_model, facts())
    assert [word for word in ("question", "answer") if any(word in line for line in lines)] == left_out


@pytest.mark.usefixtures("base")
def test_prompts_that_a_template_refuses_are_counted_for_each_model(facts: MakeFacts, reward: Path) -> None:
    (reward / "chat_template.jinja").write_text(NO_SYSTEM)
    [line] = findings_of(models.check_templates_on_prompts, facts([*rows(19), WITH_SYSTEM]))
    assert line.startswith("warning: reward.model: 1 of the first 20 prompts")
    assert "no system role (roles: system, user, assistant)" in line


@pytest.mark.usefixtures("reward")
def test_a_template_that_refuses_every_prompt_is_a_problem(facts: MakeFacts, base: Path) -> None:
    (base / "chat_template.jinja").write_text(NO_SYSTEM)
    [line] = findings_of(models.check_templates_on_prompts, facts([WITH_SYSTEM]))
    assert line.startswith("generation.model: accepts none of the prompts: ")


DROPS_SYSTEM = NO_SYSTEM.replace("{{ raise_exception('no system role') }}{% endif %}", "{% else %}").replace(
    "{% endfor %}", "{% endif %}{% endfor %}", 1
)


@pytest.mark.usefixtures("reward")
def test_a_template_that_skips_a_role_is_reported_as_by_the_import(facts: MakeFacts, base: Path) -> None:
    (base / "chat_template.jinja").write_text(DROPS_SYSTEM)
    [line] = findings_of(models.check_templates_on_prompts, facts([WITH_SYSTEM]))
    assert line.startswith("generation.model: accepts none of the prompts: ")
    assert "leaves out what role 'system' says" in line
    [line] = findings_of(models.check_templates_on_prompts, facts([*rows(3), WITH_SYSTEM]))
    assert line.startswith("warning: generation.model: 1 of the first 4 prompts are left out")


@pytest.mark.usefixtures("base")
def test_a_reward_template_that_skips_a_role_is_a_warning(facts: MakeFacts, reward: Path) -> None:
    (reward / "chat_template.jinja").write_text(DROPS_SYSTEM)
    [line] = findings_of(models.check_templates_on_prompts, facts([*rows(3), WITH_SYSTEM]))
    assert line.startswith("warning: reward.model: its chat template leaves out what role 'system' says")
    assert "1 of the first 4 prompts" in line


TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "And now?"},
]
ONE_TURN = "{% for m in messages %}{% if CONDITION %}[{{ m.role }}] {{ m.content }}\n{% endif %}{% endfor %}"


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(
    ("condition", "left_out"),
    [
        ("m.role == 'system' or loop.revindex <= 2", None),
        ("m.role == 'system' or loop.revindex <= 3", None),
        ("loop.revindex <= 2", "system"),
        ("m.role != 'assistant' or loop.last", "assistant"),
        ("m.role != 'user'", "user"),
        ("m.role == 'system' or loop.last", "user"),
        ("loop.index != 2 and loop.index != 3 or loop.first", None),
    ],
)
def test_a_reward_template_that_prints_the_last_turns_by_design_is_no_warning_and_one_with_gaps_is(
    facts: MakeFacts, reward: Path, condition: str, left_out: str | None
) -> None:
    (reward / "chat_template.jinja").write_text(ONE_TURN.replace("CONDITION", condition))
    lines = findings_of(models.check_templates_on_prompts, facts([{"prompt": TURNS}]))
    assert [line.partition(" says")[0].rpartition(" ")[2] for line in lines] == (
        [f"'{left_out}'"] if left_out else []
    )


@pytest.mark.usefixtures("base", "reward")
def test_prompts_that_are_all_too_long_are_a_problem_before_the_run(facts: MakeFacts) -> None:
    [line] = findings_of(models.check_templates_on_prompts, facts(rows(3), prompts={"max_prompt_tokens": 2}))
    assert "more than prompts.max_prompt_tokens = 2" in line


@pytest.mark.parametrize("name", ["max_position_embeddings", "n_positions", "max_seq_len"])
def test_lengths_beyond_the_context_are_refused_and_its_end_is_not(
    facts: MakeFacts, base: Path, reward: Path, name: str
) -> None:
    for model in (base, reward):
        (model / "config.json").write_text(json.dumps({"text_config": {name: 512}}))
    fits = facts(**LENGTHS)
    assert [*models.check_generation_lengths(fits), *models.check_reward_lengths(fits)] == []
    longer = facts(
        prompts={"max_prompt_tokens": 413},
        generation={"max_tokens": 100},
        reward={"max_length": 513},
        weighting={"max_length": 513},
    )
    prompt, weighed = findings_of(models.check_generation_lengths, longer)
    assert "prompts.max_prompt_tokens + generation.max_tokens is 513 tokens" in prompt
    assert f"takes at most 512 ({name})" in prompt
    assert "weighting.max_length is 513 tokens" in weighed
    assert "reward.max_length is 513 tokens" in findings_of(models.check_reward_lengths, longer)[0]


def test_weights_that_are_not_finite_are_found(facts: MakeFacts, base: Path) -> None:
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][0] = torch.nan
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    [line] = findings_of(models.check_generation_model, facts())
    assert "model.norm.weight holds NaN or infinite values" in line


@pytest.mark.parametrize("body", ["[]", "{", None])
def test_a_config_that_cannot_be_read_is_reported_once(
    facts: MakeFacts, base: Path, body: str | None
) -> None:
    (base / "config.json").unlink()
    if body is not None:
        (base / "config.json").write_text(body)
    [line] = findings_of(models.check_generation_model, facts())
    assert line.startswith(f"{base}/config.json: ")


def test_a_classifier_given_as_the_model_to_align_is_reported_once(facts: MakeFacts, reward: Path) -> None:
    [line] = findings_of(models.check_generation_model, facts(generation={"model": str(reward)}))
    assert "this is a LlamaForSequenceClassification, not a causal language model" in line
    edit(reward / "config.json", architectures=None)
    [line] = findings_of(models.check_generation_model, facts(generation={"model": str(reward)}))
    assert "is a classifier (score.weight), not a causal language model" in line


def test_a_template_without_a_generation_prompt_is_refused(facts: MakeFacts, base: Path) -> None:
    template = (base / "chat_template.jinja").read_text()
    (base / "chat_template.jinja").write_text(template.partition("{% if add_generation_prompt")[0])
    (text,) = findings_of(models.check_generation_model, facts(generation={"model": str(base)}))
    assert "puts '<|assistant|>' before an answer" in text
    assert not text.startswith("warning")


def test_a_stop_that_is_ordinary_text_is_a_warning(facts: MakeFacts, base: Path) -> None:
    vocabulary = json.loads((base / "tokenizer.json").read_text())["model"]["vocab"]
    settings = json.loads((base / "generation_config.json").read_text())
    settings["eos_token_id"].append(vocabulary["en"])
    (base / "generation_config.json").write_text(json.dumps(settings))
    (text,) = findings_of(models.check_generation_model, facts(generation={"model": str(base)}))
    assert text.startswith("warning: generation.model: a response ends at 'en', which is ordinary text")
