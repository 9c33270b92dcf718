"""Labels, lengths and quantization are read from config.json, whatever else it holds."""

import json
from pathlib import Path
from typing import Any

import pytest

from figa_core.errors import EngineError
from figa_core.models.config_json import label_count, longest_input, quantization, read_config


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "not a JSON object"),
        (b"{no", "not valid JSON"),
        (b"", "not valid JSON"),
        (b"\xff\xfe{\0}\0", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_a_config_that_is_not_an_object_is_named(tmp_path: Path, body: bytes, words: str) -> None:
    (tmp_path / "config.json").write_bytes(body)
    with pytest.raises(EngineError, match=rf"config\.json: .*{words}"):
        read_config(tmp_path)


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": 1}).encode())
    assert read_config(tmp_path) == {"a": 1}


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({"id2label": {"0": "LABEL_0"}}, 1),
        ({"num_labels": 1}, 1),
        ({}, 2),
        ({"id2label": {"0": "bad", "1": "good"}}, 2),
        ({"num_labels": 3}, 3),
        ({"num_labels": "1", "id2label": 5}, 2),
    ],
)
def test_labels_are_counted(config: dict[str, Any], labels: int) -> None:
    assert label_count(config) == labels


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        ({"max_position_embeddings": 512}, (512, "max_position_embeddings")),
        ({"text_config": {"max_position_embeddings": 8192}}, (8192, "max_position_embeddings")),
        ({"n_positions": 1024}, (1024, "n_positions")),
        ({"max_seq_len": 2048}, (2048, "max_seq_len")),
        ({"seq_length": 2048}, (2048, "seq_length")),
        (
            {"max_position_embeddings": 514, "model_type": "roberta", "pad_token_id": 1},
            (512, "max_position_embeddings"),
        ),
        ({"max_position_embeddings": 514, "model_type": "roberta"}, (512, "max_position_embeddings")),
        ({"max_position_embeddings": "many"}, None),
        ({"max_position_embeddings": None, "model_type": "mamba"}, None),
        ({}, None),
    ],
)
def test_the_longest_input_is_found_under_its_names(config: dict[str, Any], longest: object) -> None:
    assert longest_input(config) == longest


@pytest.mark.parametrize(
    ("rope", "longest"),
    [
        (None, 32768),
        ({"rope_type": "default", "rope_theta": 1e4}, 32768),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 32768),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 131072),
        ({"rope_type": "yarn", "factor": 40, "original_max_position_embeddings": 512}, 32768),
        ({"rope_type": "linear", "factor": 2.0}, 65536),
        ({"full_attention": {"rope_type": "default"}}, 32768),
        ({"rope_type": "linear", "factor": "much"}, 32768),
    ],
)
def test_a_stretched_context_counts_with_its_stretched_length(rope: object, longest: int) -> None:
    found = longest_input({"max_position_embeddings": 32768, "rope_scaling": rope})
    assert found is not None
    assert found[0] == longest


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({}, None),
        ({"quantization_config": None}, None),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "fp8"),
        ({"quantization_config": {"load_in_4bit": True}}, "an unknown way"),
        ({"compression_config": {"format": "pack-quantized"}}, "an unknown way"),
    ],
)
def test_quantized_weights_are_known_by_their_settings(config: dict[str, Any], kind: str | None) -> None:
    assert quantization(config) == kind
