"""Data, trainings and measurements of the anchors' experiment, in one process.

The steps are those of `figa_core.training` (plan, objective, gradient, AdamW), without DeepSpeed. Weights,
updates and losses are float32; matrix products and generated answers are bfloat16, which halves the time on a
CPU.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from figa_core.chat.format import ChatFormat, load_chat_format
from figa_core.config.training import LossConfig
from figa_core.records import AdmittedPair, EditClass, FinishReason, Message, WeighedPair
from figa_core.shards.write import write_shards
from figa_core.training.batches import plan_step, step_pairs
from figa_core.training.data import PairData
from figa_core.training.loop import accumulate
from figa_core.training.micro_batch import MicroBatch, padded_batch
from figa_core.training.model import WeightedTokenLogits, inputs_of, load_model, token_nll
from figa_core.training.objectives.registry import make_objective
from figa_core.training.reference_pass import run_pass
from figa_core.training.top_tokens import TOP_TOKENS
from figa_core.weighting.schemes import levenshtein
from figa_core.weighting.weigh import weigh_pairs
from tests.benchmarks.orders import EXAMPLE, INSTRUCTION, Order, orders, repaired, score

_CPU = torch.device("cpu")
_TOKENS = 40  # of an answer
_ROWS = 16  # generated at once
_TRAIN_SEED, _TEST_SEED, _DRAFT_SEED = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Sizes:
    """`drafts` are sampled; the first `pairs` that ended and are faulty are repaired and trained on.

    The first `watched` pairs are those whose tokens are looked at along the way.
    """

    drafts: int = 112
    pairs: int = 64
    pairs_per_step: int = 8
    steps: int = 8
    measured_after: tuple[int, ...] = (4, 8)
    prompts: int = 24
    watched: int = 8
    temperature: float = 0.8


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to train: its name, and how it differs from the settings."""

    name: str
    loss: LossConfig
    epsilon: float = 1e-8
    decay: bool = False  # linearly to zero after the last step


@dataclass(frozen=True, slots=True)
class Point:
    """What a model does after a number of steps.

    Attributes:
        score, error: mean score of the greedy answers to held-out prompts, of 100, and its standard error.
        ended: share of the answers that ended by themselves.
        kept_nll, edited_nll: mean NLL of the unchanged and of the edited tokens of the first pairs' Ỹ.
        end_probability: mean probability of the end of turn after their Ỹ.
        example: the answer to the first prompt.
    """

    step: int
    score: float
    error: float
    ended: float
    kept_nll: float
    edited_nll: float
    end_probability: float
    example: str


@dataclass(frozen=True, slots=True)
class Course:
    """A variant's points, and the loss and the gradient's norm of each step."""

    variant: str
    points: list[Point] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)


class Trained:
    """A model while it is trained: the engine of `loop.accumulate`."""

    def __init__(self, directory: Path) -> None:
        self.model = load_model(directory)
        self._module = WeightedTokenLogits(self.model, sparse_head=True)
        self._writer = load_model(directory).bfloat16().eval()

    @torch.no_grad()
    def writer(self) -> Any:
        """A bfloat16 copy as it is now, for generation."""
        for theirs, ours in zip(self._writer.parameters(), self.model.parameters(), strict=True):
            theirs.copy_(ours)
        return self._writer

    def logits(self, batch: MicroBatch) -> torch.Tensor:
        """Logits (K, V) of the batch's weighted tokens."""
        with torch.autocast("cpu", torch.bfloat16):
            return self._module(*inputs_of(batch, _CPU)).float()

    def tensor(self, array: Any) -> torch.Tensor:
        return torch.from_numpy(array)

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()


class World:
    """The model's directory, its pairs and the held-out prompts, made once below `directory`."""

    def __init__(self, model: Path, directory: Path, sizes: Sizes) -> None:
        self.model, self.directory, self.sizes = model, directory, sizes
        self.tests = orders(sizes.prompts, _TEST_SEED)

    @cached_property
    def chat(self) -> ChatFormat:
        return load_chat_format(self.model)

    @property
    def shards(self) -> Path:
        return self.directory / "shards"

    def build(self) -> PairData:
        """The shards; made of drafts of the base model, repaired, unless they exist."""
        if not (self.shards / "manifest.json").exists():
            write_shards(
                self.shards,
                list(self._pairs())[: self.sizes.pairs],
                shard_set_id="orders",
                tokenizer_hash=self.chat.tokenizer_hash,
                template_hash=self.chat.template_hash,
                scheme="levenshtein",
                max_length=512,
                pairs_per_shard=1000,
            )
        return PairData(self.shards)

    def build_with_base(self) -> PairData:
        """The pairs with what the base model predicts of them, for objectives that hold a model to it."""
        log_probs = self.directory / "log-probs"
        if not (log_probs / "manifest.json").exists():
            run_pass(self.model, self.shards, log_probs, ("revision",), 1024, TOP_TOKENS)
        return PairData(self.shards, log_probs)

    def _pairs(self) -> Iterator[WeighedPair]:
        asked = {order.text for order in self.tests}
        rows = [order for order in orders(self.sizes.drafts, _TRAIN_SEED) if order.text not in asked]
        drafts = answers(Trained(self.model).writer(), self, rows, temperature=self.sizes.temperature)
        found = [
            AdmittedPair(
                f"pair-{number}",
                messages(row),
                text,
                FinishReason.STOP,
                (),
                repaired(row, text),
                None,
                0.0,
                1.0,
            )
            for number, (row, (text, ended)) in enumerate(zip(rows, drafts, strict=True))
            if ended and score(row, text) < 100
        ]
        texts = [(pair.response_text, pair.revision_text) for pair in found]
        (self.directory / "pairs.json").write_text(json.dumps(texts, indent=1, ensure_ascii=False))
        for pair in weigh_pairs(self.chat, found, scheme=levenshtein, max_length=512):
            if isinstance(pair, WeighedPair):
                yield pair


def messages(order: Order) -> tuple[Message, ...]:
    """The prompt: the instruction, an example and the order."""
    return (
        Message("system", INSTRUCTION),
        Message("user", EXAMPLE[0]),
        Message("assistant", EXAMPLE[1]),
        Message("user", order.text),
    )


@torch.no_grad()
def answers(
    model: Any, world: World, rows: Sequence[Order], *, temperature: float = 0.0
) -> list[tuple[str, bool]]:
    """One answer to each order, and whether it ended by itself."""
    tokenizer = AutoTokenizer.from_pretrained(world.model)
    torch.manual_seed(_DRAFT_SEED)
    how = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    found: list[tuple[str, bool]] = []
    for first in range(0, len(rows), _ROWS):
        prompts = world.chat.prompt_ids_or_reasons([messages(row) for row in rows[first : first + _ROWS]])
        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=_TOKENS,
            eos_token_id=sorted(world.chat.stop_token_ids),
            pad_token_id=sorted(world.chat.stop_token_ids)[0],
            **how,
        )
        stops = world.chat.stop_token_ids
        for row in out[:, longest:].tolist():
            end = next((place for place, token in enumerate(row) if token in stops), None)
            found.append((tokenizer.decode(row[:end], skip_special_tokens=False), end is not None))
    return found


def measure(trained: Trained, world: World, data: PairData, step: int) -> Point:
    """Ask the held-out prompts, and look at the first pairs' revisions."""
    asked = answers(trained.writer(), world, world.tests)
    scores = np.array([score(order, text) for order, (text, _) in zip(world.tests, asked, strict=True)])
    nlls: dict[int, list[float]] = {int(kind): [] for kind in EditClass}
    for pair in range(min(world.sizes.watched, len(data))):
        with torch.no_grad():
            nll = _nll(trained, data, pair)
        for value, kind in zip(nll, data.answer_classes(pair, "revision").tolist(), strict=True):
            nlls[kind].append(value)
    edited = nlls[EditClass.INSERTED] + nlls[EditClass.SUBSTITUTED]
    return Point(
        step=step,
        score=float(scores.mean()),
        error=float(scores.std(ddof=1) / math.sqrt(len(scores))),
        ended=float(np.mean([ended for _, ended in asked])),
        kept_nll=float(np.mean(nlls[EditClass.KEPT])),
        edited_nll=float(np.mean(edited)),
        end_probability=float(np.mean(np.exp(-np.array(nlls[EditClass.END_OF_TURN])))),
        example=asked[0][0],
    )


def _nll(trained: Trained, data: PairData, pair: int) -> list[float]:
    batch = padded_batch([data.whole_answer(pair, "revision")])
    weights = torch.from_numpy(batch.weights_K)
    return token_nll(trained.logits(batch), torch.from_numpy(batch.targets_K), weights).tolist()


def run(
    variant: Variant,
    world: World,
    data: PairData,
    *,
    learning_rate: float,
    seed: int,
    tell: Callable[[str], None],
) -> Course:
    """Train from the base model and measure along the way."""
    sizes, course = world.sizes, Course(variant.name)
    trained, objective = Trained(world.model), make_objective(variant.loss)
    data = world.build_with_base() if objective.held_to_base else data
    parameters = list(trained.model.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=learning_rate, eps=variant.epsilon, weight_decay=0.0, fused=True
    )
    for step in range(1, sizes.steps + 1):
        begun = time.monotonic()
        chosen = step_pairs(step, pairs=len(data), pairs_per_step=sizes.pairs_per_step, seed=seed)
        plan = plan_step(
            data, chosen, objective, rank=0, ranks=1, tokens_per_batch=1024, packing=False, tail_cut=True
        )
        terms = accumulate(trained, plan.micro_batches, objective, max(plan.counted, 1))
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        for group in optimizer.param_groups:
            left = 1 - (step - 1) / sizes.steps
            group["lr"] = learning_rate * (left if variant.decay else 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        course.losses.append(sum(float(one.loss) for one in terms) / max(plan.counted, 1))
        course.norms.append(float(norm))
        course.counted.append(plan.counted)
        seconds = time.monotonic() - begun
        tell(f"{variant.name} {step}: loss {course.losses[-1]:.4f}, norm {norm:.3f}, {seconds:.0f} s")
        if step in sizes.measured_after:
            course.points.append(measure(trained, world, data, step))
            tell(f"{variant.name} {asdict(course.points[-1])}")
    return course
