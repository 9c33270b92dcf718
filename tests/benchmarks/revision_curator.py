"""bespokelabs-curator in its own environment, with its litellm backend (the openai one goes online)."""

import os
from pathlib import Path
from typing import Any

from tests.benchmarks.revision_spec import MAX_TOKENS, Outcome, Spec, Watch

os.environ |= {
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_API_KEY": "none",
    "TELEMETRY_ENABLED": "false",
}

from bespokelabs import curator  # pyright: ignore[reportMissingImports]


class _Reviser(curator.LLM):
    """Sends the rendered messages without changes."""

    def prompt(self, row: dict[str, Any]) -> list[dict[str, str]]:
        """The chat messages of one row."""
        return row["messages"]

    def parse(self, row: dict[str, Any], response: str) -> dict[str, str]:
        """The row's id and its revision."""
        return {"id": row["id"], "text": response}


def run(spec: Spec) -> Outcome:
    """Revise all rows; curator's cache knows which of them are done."""
    watch = Watch(0)
    reviser = _Reviser(
        model_name=f"openai/{spec.model}",
        backend="litellm",
        generation_params={"temperature": 0, "max_tokens": MAX_TOKENS},
        backend_params={
            "base_url": spec.base_url,
            "max_requests_per_minute": spec.requests_per_minute,
            "max_tokens_per_minute": spec.tokens_per_minute,
            "require_all_responses": False,
        },
    )
    rows = [{"id": row["id"], "messages": row["messages"]} for row in spec.read_rows()]
    revised = reviser(rows, working_dir=str(Path(spec.directory))).dataset
    return watch.outcome(sum(bool(text) for text in revised["text"]))
