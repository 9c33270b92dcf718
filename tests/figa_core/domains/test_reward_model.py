import json
from itertools import islice
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaForSequenceClassification

from figa_core.chat.format import load_chat_format
from figa_core.domains.base import load_domain
from figa_core.domains.reward_model import (
    RewardRecipe,
    build_reward_model,
    collate,
    pair_accuracy,
    read_drafts,
)
from figa_core.domains.wrong_answers import graded_answers
from figa_core.errors import ConfigError
from figa_core.records import Message
from figa_core.sandbox.reward_model import rewards

DOMAIN = load_domain("arithmetic")
MICRO = RewardRecipe(steps=2, tasks_judged=4, tasks_for_tokenizer=40)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("reward")
    figures = build_reward_model(DOMAIN, root, MICRO, lambda line: None)
    assert 0 <= figures["pair_accuracy"] <= 1
    return root / "reward"


def load(directory: Path):
    return LlamaForSequenceClassification.from_pretrained(directory).eval(), AutoTokenizer.from_pretrained(
        directory
    )


def test_the_directory_has_a_classifier_whose_template_prints_the_last_question_and_the_answer(built):
    model, tokenizer = load(built)
    assert model.config.num_labels == 1
    chat = load_chat_format(built)
    messages = [
        Message("user", "a"),
        Message("assistant", "b"),
        Message("user", "2 + 2?"),
        Message("assistant", "4"),
    ]
    text = "<|begin|><|user|>2 + 2?<|end|><|assistant|>4<|end|>"
    assert chat.render(messages, for_generation=False) == text
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    with torch.inference_mode():
        logit = model(ids).logits[0, 0].item()
    assert rewards(model, tokenizer, [(messages[2:3], "4")]) == pytest.approx([logit], abs=1e-5)


def test_a_word_is_the_same_token_in_the_prompt_and_in_the_answer(built):
    _, tokenizer = load(built)
    encode = tokenizer.backend_tokenizer.encode
    assert encode('"marbles"').ids[1:-1] == encode("the marbles").ids[2:] != []
    assert encode("12").ids == encode("1").ids + encode("2").ids


def test_the_heads_learn_which_pieces_are_wrong_and_what_is_right(built):
    _, tokenizer = load(built)
    right, *wrong = next(graded_answers(DOMAIN, 5))
    batch = collate(tokenizer, [right, *wrong])
    assert batch.cost_B.tolist() == pytest.approx([answer.cost for answer in (right, *wrong)])
    assert batch.faulty_BT[0].sum() == 0
    assert not batch.reply_BT[range(3), batch.ends_B].any()
    for row, answer in enumerate((right, *wrong)):
        reply = tokenizer.decode(batch.ids_BT[row][batch.reply_BT[row]])
        assert reply == answer.text
        values = batch.right_BT[row][batch.right_BT[row] >= 0]
        firsts = [
            tokenizer.backend_tokenizer.encode(p.right).ids[0] for p in answer.pieces if p.right[0].isalnum()
        ]
        assert values.tolist() == firsts
        assert (batch.faulty_BT[row].sum() > 0) == any(p.text != p.right for p in answer.pieces)


def test_pairs_that_the_verifier_tells_apart_are_counted(built, tmp_path):
    model, tokenizer = load(built)
    rows = list(islice(DOMAIN.rows(3, 0), 3))
    file = tmp_path / "drafts.jsonl"
    drafts = [rows[0]["reference"], rows[1]["reference"], "I do not know."]
    lines = [
        json.dumps({"prompt": row["prompt"], "draft": text}) for row, text in zip(rows, drafts, strict=True)
    ]
    file.write_text("\n".join(lines))
    read = read_drafts(DOMAIN, file)
    assert [value for _, _, value in read] == [1, 1, 0]
    accuracy, pairs = pair_accuracy(model, tokenizer, [read])
    assert pairs == 2
    assert accuracy in (0, 0.5, 1)


def test_a_domain_without_answers_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'support' has no reward model of its own"):
        build_reward_model(load_domain("support"), tmp_path, MICRO, lambda line: None)
