"""A tokenizer is usable if a sentence survives it, and its ids are those of the model."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from figa_core.chat.format import load_chat_format
from figa_core.errors import ConfigError
from figa_core.models.tokenizer import generation_stops, load_tokenizer, vocabulary_problems
from figa_core.sandbox.build import Sandbox
from tests.figa_core.models.conftest import edit


@pytest.fixture
def model(sandbox: Sandbox, tmp_path: Path) -> Path:
    return shutil.copytree(sandbox.base_model, tmp_path / "model")


@pytest.mark.parametrize(
    "model_type", ["gpt2", "qwen2", "gemma2", "gpt_neox", "opt", "phi", "llama", "mistral"]
)
@pytest.mark.parametrize("settings", [True, False])
def test_an_empty_tokenizer_that_transformers_builds_is_refused(
    model: Path, model_type: str, settings: bool
) -> None:
    (model / "tokenizer.json").unlink()
    (model / "tokenizer_config.json").unlink()
    if settings:
        (model / "tokenizer_config.json").write_text('{"bos_token": "<s>", "eos_token": "</s>"}')
    edit(model / "config.json", model_type=model_type)
    with pytest.raises(ConfigError, match=rf"{model}: (has no tokenizer|its tokenizer knows almost no)"):
        load_chat_format(model)


@pytest.mark.parametrize("body", ["{", "{}", "[]", "null", '{"model": {"type": "BPE"}}', ""])
def test_a_damaged_tokenizer_is_named(model: Path, body: str) -> None:
    (model / "tokenizer.json").write_text(body)
    with pytest.raises(ConfigError, match=str(model)):
        load_tokenizer(model)


def test_a_tokenizer_that_garbles_a_sentence_is_refused(model: Path) -> None:
    definition = json.loads((model / "tokenizer.json").read_text())
    definition["decoder"] = {
        "type": "Sequence",
        "decoders": [{"type": "Strip", "content": "i", "start": 9, "stop": 0}],
    }
    definition["normalizer"] = {"type": "Replace", "pattern": {"String": "o"}, "content": "i"}
    (model / "tokenizer.json").write_text(json.dumps(definition))
    with pytest.raises(ConfigError, match=r"its tokenizer turns .* into "):
        load_tokenizer(model)


def test_a_tokenizer_without_its_decoder_is_refused(model: Path) -> None:
    definition = json.loads((model / "tokenizer.json").read_text())
    definition["decoder"] = None
    (model / "tokenizer.json").write_text(json.dumps(definition))
    with pytest.raises(ConfigError, match=r"its tokenizer turns .* into .*Ġis"):
        load_tokenizer(model)


def _uncased() -> Any:
    words = [
        "[UNK]",
        "[PAD]",
        *"abcdefghijklmnopqrstuvwxyz0123456789.?",
        *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789"),
    ]
    core = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece(cleanup=False)
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]")


def test_a_tokenizer_may_lose_case_and_spaces_and_may_be_in_pure_python(tmp_path: Path) -> None:
    for name, tokenizer in {"uncased": _uncased(), "bytes": ByT5Tokenizer(extra_ids=0)}.items():
        tokenizer.save_pretrained(tmp_path / name)
        assert load_tokenizer(tmp_path / name).get_vocab() == tokenizer.get_vocab()


def test_a_vocabulary_that_knows_hardly_any_words_is_refused(tmp_path: Path) -> None:
    known = ["<unk>", "Where", "is", "my", "lamp", "?", "I", "ordered", "on", "Monday", "."]
    for words, enough in ((known, True), (["<unk>", "is"], False)):
        core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
        core.pre_tokenizer = pre_tokenizers.Whitespace()
        PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>").save_pretrained(tmp_path / "t")
        if enough:
            assert load_tokenizer(tmp_path / "t")
        else:
            with pytest.raises(ConfigError, match="knows almost no words"):
                load_tokenizer(tmp_path / "t")


def test_the_generation_config_names_the_stops_or_config_json_if_there_is_none(tmp_path: Path) -> None:
    assert generation_stops(tmp_path) == set()
    (tmp_path / "config.json").write_text('{"eos_token_id": 7}')
    assert generation_stops(tmp_path) == {7}
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [3, 5, -1]}')
    assert generation_stops(tmp_path) == {3, 5}
    (tmp_path / "generation_config.json").write_text("{}")
    assert generation_stops(tmp_path) == set()


@pytest.mark.parametrize(
    "body", ["[]", "{", '{"eos_token_id": "</s>"}', '{"eos_token_id": [[2]]}', '{"eos_token_id": true}']
)
def test_stops_that_are_not_ids_are_a_config_error_naming_the_file(tmp_path: Path, body: str) -> None:
    (tmp_path / "generation_config.json").write_text(body)
    with pytest.raises(ConfigError, match=r"generation_config\.json"):
        generation_stops(tmp_path)


def test_every_token_has_a_row_of_the_embedding(tmp_path: Path) -> None:
    known = {"a": 0, "</s>": 1, "<pad>": 2}
    assert [*vocabulary_problems(known, [1], 3, tmp_path)] == []
    (only,) = vocabulary_problems(known, [1], 2, tmp_path)  # an id equal to the vocabulary's size
    assert "the embedding ends at id 1, and '<pad>' is 2" in only


def test_a_response_can_end_on_a_token_that_exists(tmp_path: Path) -> None:
    known = {"a": 0, "</s>": 1}
    assert [*vocabulary_problems(known, [1, 90], 4, tmp_path)] == []
    (only,) = vocabulary_problems(known, [90, 3], 4, tmp_path)
    assert "none of the ids that end a response (3, 90) is a token" in only


def test_a_device_among_its_files_is_not_read(model: Path) -> None:
    (model / "chat_template.jinja").unlink(missing_ok=True)
    (model / "chat_template.jinja").symlink_to(os.devnull)
    with pytest.raises(ConfigError, match=r"chat_template\.jinja: cannot read it: it is a device"):
        load_tokenizer(model)
