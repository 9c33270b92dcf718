"""A micro sandbox, and requests in its models' token ids."""

from pathlib import Path

import pytest

from figa_core.chat.format import ChatFormat, load_chat_format
from figa_core.ports import GenerationRequest, ScoringRequest
from figa_core.prompts.read import RowFormat, read_prompts
from figa_core.records import Prompt
from figa_core.sandbox.build import Sandbox
from tests.figa_core.chat.templates.styles import conversation_ids, prompt_ids


@pytest.fixture(scope="package")
def prompts(sandbox: Sandbox) -> list[Prompt]:
    rows = read_prompts(sandbox.prompts, RowFormat("prompt", "reference", None, 0.0))
    return [row for _, row in rows if isinstance(row, Prompt)]


@pytest.fixture(scope="package")
def chat(sandbox: Sandbox) -> ChatFormat:
    return load_chat_format(sandbox.base_model)


@pytest.fixture(scope="package")
def generation_requests(chat: ChatFormat, prompts: list[Prompt]) -> list[GenerationRequest]:
    return [GenerationRequest(f"request-{i}", prompt_ids(chat, p.messages), i) for i, p in enumerate(prompts)]


@pytest.fixture(scope="package")
def scoring_requests(sandbox: Sandbox, prompts: list[Prompt]) -> list[ScoringRequest]:
    chat = load_chat_format(sandbox.reward_model)
    return [
        ScoringRequest(f"text-{i}", conversation_ids(chat, p.messages, p.reference or ""))
        for i, p in enumerate(prompts)
    ]


@pytest.fixture
def no_model(tmp_path: Path) -> Path:
    path = tmp_path / "no-model"
    path.mkdir()
    return path
