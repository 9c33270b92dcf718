"""A model trained with words before its answers is asked with them, by its own chat template."""

import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from figa_core.chat.format import ChatFormat, load_chat_format
from figa_core.errors import TrainingError
from figa_core.records import Message
from figa_core.training.export import export_model, rehearse
from figa_core.training.launch import run_training
from figa_core.training.objectives.coh import Coh
from figa_core.training.objectives.sft import Sft
from figa_core.training.words import asking_with, problem_with_words, word_ids
from tests.figa_core.training.jobs import MakeJob

HELPFUL = Coh.prompt_words
CONVERSATIONS = [
    [Message("user", "Where is my lamp?")],
    [Message("user", "Hello"), Message("assistant", "Hello!"), Message("user", "Where is it?")],
]
NO_BREAK = "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %} la{% endif %}"

NO_QUESTIONS = (
    "{% if add_generation_prompt %}{{ raise_exception('no') }}{% endif %}"
    "{% for m in messages %}{{ m.content }}{% endfor %}"
)


def test_only_an_objective_with_words_has_ids_for_them(model_dir: Path, chat: ChatFormat) -> None:
    assert word_ids(model_dir, Sft) == {}
    assert word_ids(model_dir, Coh) == {words: chat.response_ids(words) for words in Coh.words()}
    assert Coh.words() == (HELPFUL, "An unhelpful answer:\n")


def assert_asks(exported: ChatFormat, base: ChatFormat) -> None:
    """Prompts end in the words; rated conversations and answers are as before."""
    prompts = base.prompt_ids_or_reasons(CONVERSATIONS)
    expected = [(*prompt, *base.response_ids(HELPFUL)) for prompt in prompts]
    assert exported.prompt_ids_or_reasons(CONVERSATIONS) == expected
    rated = [(messages, "It is here.") for messages in CONVERSATIONS]
    assert exported.conversation_ids_or_reasons(rated) == base.conversation_ids_or_reasons(rated)
    assert exported.response_ids("It is here.") == base.response_ids("It is here.")
    assert exported.end_of_turn_ids == base.end_of_turn_ids
    assert exported.tokenizer_hash == base.tokenizer_hash
    assert exported.added_tokens(base) == len(base.response_ids(HELPFUL))
    assert base.added_tokens(exported) == 0


@pytest.mark.parametrize("kind", ["a file", "in tokenizer_config.json", "none", "ends in a line break"])
def test_an_exported_model_is_asked_with_the_words_wherever_its_base_has_its_template(
    make_job: MakeJob, tmp_path: Path, kind: str
) -> None:
    base = tmp_path / "base"
    shutil.copytree(make_job().model, base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    if kind == "none":
        tokenizer.chat_template = None
        (base / "chat_template.jinja").unlink()
    elif kind == "ends in a line break":
        tokenizer.chat_template += "\n"
    tokenizer.save_pretrained(base, save_jinja_files=kind != "in tokenizer_config.json")
    if kind == "in tokenizer_config.json":
        (base / "chat_template.jinja").unlink(missing_ok=True)
        assert "chat_template" in (base / "tokenizer_config.json").read_text()
    job = make_job(objective="coh", model=base)
    job.output.mkdir()
    model = AutoModelForCausalLM.from_pretrained(base, generation_config=GenerationConfig())
    assert list(rehearse(model, job)) == []
    export_model(model, model.state_dict().__getitem__, job)
    assert_asks(load_chat_format(job.model_dir), load_chat_format(base))


def test_a_model_that_already_asks_with_the_words_is_not_trained_with_them_again(
    make_job: MakeJob, chat: ChatFormat, tmp_path: Path
) -> None:
    base = shutil.copytree(make_job().model, tmp_path / "base")
    (base / "chat_template.jinja").write_text(asking_with(HELPFUL, chat.template))
    job = make_job(objective="coh", model=base)
    model = AutoModelForCausalLM.from_pretrained(base, generation_config=GenerationConfig())
    with pytest.raises(TrainingError, match="coh cannot train it: it already asks with the words"):
        list(rehearse(model, job))


def test_a_tokenizer_that_joins_prompt_and_words_is_a_problem(chat: ChatFormat) -> None:
    def problem(template: str, words: str) -> str | None:
        base = chat.with_template(template)
        return problem_with_words(base, base.with_template(asking_with(words, template)), words)

    assert problem(chat.template, "mp") is None
    assert "does not keep the words 'mp' apart" in str(problem(NO_BREAK, "mp"))
    assert "refuses a plain question" in str(problem(NO_QUESTIONS, "mp"))


@pytest.mark.distributed
def test_a_whole_training_in_chains_exports_a_model_that_asks_with_the_words(
    make_job: MakeJob, chat: ChatFormat, tmp_path: Path
) -> None:
    job = make_job(objective="coh", steps=2, tokens_per_batch=256)
    run_training(job, log_path=tmp_path / "log")
    assert_asks(load_chat_format(job.model_dir), chat)
