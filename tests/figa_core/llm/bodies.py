"""Bodies of chat completions, whole and streamed."""

import json
from typing import Any

TEXT = "Hello Ann, your lamp is here 💡."
USAGE = {"prompt_tokens": 50, "completion_tokens": 20}


def body(content: Any = TEXT, finish: Any = "stop", **extra: Any) -> bytes:
    message = {"role": "assistant", "content": content, **extra}
    return json.dumps(
        {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USAGE}
    ).encode()


def stream(*chunks: Any, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([": keep-alive\n\n", *lines, "data: [DONE]\n\n" if done else ""]).encode()


def delta(text: str | None, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
