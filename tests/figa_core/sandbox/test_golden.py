"""What a sandbox is made of stays as it was: workspaces hold responses to its prompts, and ids of models."""

import hashlib

from figa_core.sandbox.build import write_prompts
from figa_core.sandbox.recipe import DEFAULT_RECIPE, SandboxRecipe
from figa_core.sandbox.tokenizer import train_tokenizer


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def test_the_default_sandbox_keeps_its_id() -> None:
    assert DEFAULT_RECIPE.sandbox_id() == "sandbox-s256-e9412d58489bf121dc623e0011a6ba99"


def test_prompts_keep_their_bytes(tmp_path) -> None:
    write_prompts(tmp_path / "prompts.jsonl", SandboxRecipe(n_prompts=200))
    assert digest((tmp_path / "prompts.jsonl").read_bytes()) == "6519dbdcfd946ffc"


def test_the_tokenizer_keeps_its_vocabulary_and_template() -> None:
    tokenizer = train_tokenizer(0)
    content = f"{tokenizer.backend_tokenizer.to_str()}{tokenizer.chat_template}"
    assert digest(content.encode()) == "41bdf7e6ae237dbf"
