"""The rows of the revision benchmark: the sandbox's requests, faulty replies and references."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figa_core.records import Message
from figa_core.revision.prompt import load_templates
from figa_core.sandbox import teacher_rules
from figa_core.sandbox.vocabulary import REFERENCE_STYLE
from figa_core.sandbox.world import faulty_reply, good_reply, sample_facts, write_request


def write_rows(path: Path, count: int) -> dict[str, int]:
    """Write `count` rows with different requests; return the tokens of each by its hash in the log.

    A line has `id`, `conversation` (role, content), `response` and `reference`, and for the contenders that
    do not render a prompt the rendered `messages`.
    """
    rows = _rows(random.Random(0))
    tokens: dict[str, int] = {}
    with path.open("w", encoding="utf-8") as file:
        while len(tokens) < count:
            row = next(rows)
            sha = teacher_rules.message_hash(row["messages"][-1]["content"])
            if sha not in tokens:
                file.write(json.dumps({"id": f"row-{len(tokens)}", **row}) + "\n")
                tokens[sha] = _tokens(row)
    return tokens


def _rows(rng: random.Random) -> Iterator[dict[str, Any]]:
    templates = load_templates()
    while True:
        facts = sample_facts(rng)
        conversation: tuple[Message, ...] = write_request(facts, rng)
        response, reference = faulty_reply(facts, rng).text, good_reply(facts, rng, REFERENCE_STYLE).text
        yield {
            "conversation": [[message.role, message.content] for message in conversation],
            "response": response,
            "reference": reference,
            "messages": templates.render(conversation, response, reference),
        }


def _tokens(row: dict[str, Any]) -> int:
    """Tokens of prompt and answer, as the teacher counts them."""
    prompt = sum(teacher_rules.count_tokens(message["content"]) for message in row["messages"])
    return prompt + teacher_rules.count_tokens(teacher_rules.answer(row["messages"][-1]["content"]))
