"""Many prompts, and engines that cost almost nothing, so that the pipeline itself is measured."""

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from figa_core.chat.format import load_chat_format
from figa_core.inference.engine import Engine, Generating, Scoring
from figa_core.inference.exchange import in_shards
from figa_core.ports import Generation, GenerationRequest, ScoringRequest
from figa_core.records import FinishReason
from figa_core.sandbox.build import Sandbox, build_sandbox
from figa_core.sandbox.recipe import SandboxRecipe
from figa_core.sandbox.vocabulary import REFERENCE_STYLE
from figa_core.sandbox.world import faulty_reply, good_reply, sample_facts, write_request

# Models with hardly any training: only their tokenizers, templates and names are used.
_RECIPE = SandboxRecipe(
    seed=4, n_prompts=160, base_steps=30, reward_steps=6, pairs_judged=12, prompts_sampled=6
)
_REPLIES = 512
# Rows of a batch from vLLM: `generation.rows_per_shard` when generating, and its scoring batch.
_GENERATED_AT_ONCE = 2000
_SCORED_AT_ONCE = 1024
# R(Y) and R(Ỹ) are above every R(Ŷ) in [0, 1), so that only the filter's first threshold decides.
_ABOVE = {"reference": 5.0, "revision": 5.0}


def models(root: Path) -> Sandbox:
    """A small sandbox; an existing one is used again."""
    root.mkdir(parents=True, exist_ok=True)
    return build_sandbox(root, _RECIPE)


def write_prompts(path: Path, rows: int) -> None:
    """Write `rows` requests with references, no two the same."""
    rng = random.Random(0)
    seen: set[int] = set()
    with path.open("w", encoding="utf-8") as file:
        while len(seen) < rows:
            facts = sample_facts(rng)
            prompt = [message.as_dict() for message in write_request(facts, rng)]
            key = hash(json.dumps(prompt))
            if key not in seen:
                seen.add(key)
                reference = good_reply(facts, rng, REFERENCE_STYLE).text
                file.write(json.dumps({"prompt": prompt, "reference": reference}) + "\n")


class StubEngine(Engine):
    """The engine "stub"; see `StubGenerator` and `StubScorer`."""

    def __init__(self, on_rows: Callable[[int, float], None]) -> None:
        self._on_rows = on_rows

    def generator(self, settings: Generating, scratch: Path) -> "StubGenerator":
        return StubGenerator(settings.model, self._on_rows)

    def scorer(self, settings: Scoring, scratch: Path) -> "StubScorer":
        return StubScorer()


class StubGenerator:
    """Answers each request with one of 512 faulty replies, chosen by its seed.

    They are replies to other requests, so the teacher finds wrong facts and corrects them.
    """

    def __init__(self, model: Path, on_rows: Callable[[int, float], None]) -> None:
        """`on_rows` gets the number of rows drawn so far and the time, after each batch."""
        chat, rng = load_chat_format(model), random.Random(1)
        texts = [faulty_reply(sample_facts(rng), rng).text for _ in range(_REPLIES)]
        self._replies, self._on_rows = chat.response_ids_batch(texts), on_rows

    def generate(self, requests: Iterable[GenerationRequest]) -> Iterator[list[Generation]]:
        """In batches like those of vLLM's worker."""
        drawn = 0
        for batch in in_shards(requests, _GENERATED_AT_ONCE):
            yield [
                Generation(r.request_id, self._replies[r.seed % _REPLIES], FinishReason.STOP) for r in batch
            ]
            drawn += len(batch)
            self._on_rows(drawn, time.time())


class StubScorer:
    """Scores a text by the hash of its id; references and revisions get more than any response."""

    def score(self, requests: Iterable[ScoringRequest]) -> Iterator[list[tuple[str, float]]]:
        """In batches like those of vLLM's worker."""
        for batch in in_shards(requests, _SCORED_AT_ONCE):
            yield [(request.subject_id, reward(request.subject_id)) for request in batch]


def reward(subject_id: str) -> float:
    """Uniform in [0, 1) by the id, plus 5 for references and revisions."""
    digest = hashlib.sha256(subject_id.encode()).digest()
    return _ABOVE.get(subject_id.split("-")[0], 0.0) + int.from_bytes(digest[:6], "big") / 2**48
