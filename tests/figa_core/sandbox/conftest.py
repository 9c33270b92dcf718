"""Shared by the sandbox's tests: worlds to draw from, and one micro sandbox."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from figa_core.records import Message
from figa_core.sandbox.build import Sandbox, build_sandbox
from figa_core.sandbox.recipe import SandboxRecipe
from figa_core.sandbox.vocabulary import REFERENCE_STYLE, WRITER_STYLE
from figa_core.sandbox.world import (
    Facts,
    FaultKind,
    Reply,
    draw_faults,
    plan_reply,
    sample_facts,
    with_faults,
    write_request,
)


@dataclass(frozen=True)
class Case:
    """One request, with the same reply without and with faults."""

    facts: Facts
    messages: tuple[Message, ...]
    good: Reply
    faulty: Reply
    reference: Reply
    faults: tuple[FaultKind, ...]

    @property
    def prompt_text(self) -> str:
        return "\n".join(f"{message.role}: {message.content}" for message in self.messages)


def _draw_case(seed: int, faults: tuple[FaultKind, ...] | None = None) -> Case:
    rng = random.Random(seed)
    facts = sample_facts(rng)
    messages = write_request(facts, rng)
    plan = plan_reply(WRITER_STYLE, rng)
    reference = with_faults(facts, plan_reply(REFERENCE_STYLE, rng), (), rng)
    drawn = draw_faults(facts, rng) if faults is None else faults
    return Case(
        facts,
        messages,
        with_faults(facts, plan, (), rng),
        with_faults(facts, plan, drawn, rng),
        reference,
        drawn,
    )


@pytest.fixture(scope="session")
def draw_case() -> Callable[..., Case]:
    return _draw_case


MICRO = SandboxRecipe(seed=1, n_prompts=40, base_steps=6, reward_steps=6, pairs_judged=12, prompts_sampled=6)


@pytest.fixture(scope="session")
def micro_recipe() -> SandboxRecipe:
    return MICRO


@pytest.fixture(scope="session")
def micro_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the remains of two killed builds: one unfinished, and one in place without a manifest."""
    root = tmp_path_factory.mktemp("sandboxes")
    final = root / MICRO.sandbox_id()
    (final / "base").mkdir(parents=True)
    (root / f"{final.name}.building-999999999" / "base").mkdir(parents=True)
    return root


@pytest.fixture(scope="session")
def micro_progress() -> list[str]:
    return []


@pytest.fixture(scope="session")
def micro_sandbox(micro_root: Path, micro_progress: list[str]) -> Sandbox:
    return build_sandbox(micro_root, MICRO, on_progress=micro_progress.append)
