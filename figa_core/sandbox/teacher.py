"""The teacher: a local server that speaks the OpenAI chat-completions protocol and corrects by rule.

    python -m figa_core.sandbox.teacher --port 0 --port-file F --log requests.jsonl --requests-per-minute 6000

It stands in for a provider's LLM: only `base_url`, `model` and the key differ. Every request is written to
the log before it is answered, so that the log tells what was asked even after a kill. Loopback only.
"""

import argparse
import asyncio
import hmac
import json
import os
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from figa_core.files import write_whole
from figa_core.processes.children import PARENT_PID_VARIABLE, die_with_parent
from figa_core.sandbox import teacher_protocol as protocol
from figa_core.sandbox import teacher_rules as rules
from figa_core.sandbox.teacher_rules import FaultPlan, SlidingWindow, TeacherFault

DEFAULT_MODEL = "sandbox-teacher"
_ANSWERED = "answered"
_NUMBERS = ("requests_per_minute", "tokens_per_minute", "window_s", "burst_factor", "latency_s", "hang_s")


@dataclass(frozen=True)
class TeacherSettings:
    """How one teacher behaves; `faults` are shares of all requests, times are in seconds.

    Beside the limits per `window_s` no single second may bring more than `burst_factor` times its share of
    them, as with providers that permit a minute's requests but not all at once; 0 switches that off.
    """

    requests_per_minute: float = 60_000
    tokens_per_minute: float = 60_000_000
    window_s: float = 60.0
    burst_factor: float = 2.0
    latency_s: float = 0.0
    hang_s: float = 600.0
    seed: int = 0
    model: str = DEFAULT_MODEL
    api_key: str | None = field(default=None, repr=False)
    faults: Mapping[TeacherFault, float] = field(default_factory=dict)
    log: Path | None = None


class Teacher:
    """The state behind the routes: the windows, the fault plan, the log, the counts."""

    def __init__(self, settings: TeacherSettings) -> None:
        self._settings = settings
        limits = settings.requests_per_minute, settings.tokens_per_minute
        self._windows = [SlidingWindow(*limits, settings.window_s)]
        if settings.burst_factor > 0:
            requests, tokens = (limit * settings.burst_factor for limit in limits)
            self._windows.append(SlidingWindow(requests, tokens, window_s=1.0))
        self._plan = FaultPlan(settings.faults, settings.seed)
        self._counts: Counter[str] = Counter()
        self._log = None if settings.log is None else _open_log(settings.log)

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/stats", self._stats),
            ]
        )

    async def _models(self, request: Request) -> Response:
        if not self._authorised(request):
            return protocol.wrong_key()
        model = {"id": self._settings.model, "object": "model", "created": 0, "owned_by": "figa-sandbox"}
        return JSONResponse({"object": "list", "data": [model]})

    async def _stats(self, _: Request) -> Response:
        return JSONResponse({"requests": self._counts.total(), "outcomes": dict(self._counts)})

    async def _complete(self, request: Request) -> Response:
        body, user_text = protocol.read_body(await request.body())
        sha = rules.message_hash(user_text)
        if not self._authorised(request):
            refused = protocol.wrong_key()
        elif body is None:
            refused = protocol.error(400, "Expected a JSON object with 'messages'.")
        elif body.get("model") != self._settings.model:
            text = f"The model {body.get('model')!r} does not exist."
            refused = protocol.error(404, text, code="model_not_found")
        else:
            return await self._answer(body, user_text, sha)
        self._record(sha, str(refused.status_code))
        return refused

    async def _answer(self, body: dict[str, Any], user_text: str, sha: str) -> Response:
        text = rules.answer(user_text)
        prompt_tokens = sum(rules.count_tokens(str(m.get("content", ""))) for m in body["messages"])
        tokens = prompt_tokens + rules.count_tokens(text)
        verdict = rules.admit(self._windows, time.monotonic(), tokens)
        minute = self._windows[0]
        headers = protocol.limit_headers(minute.max_requests, minute.max_tokens, verdict)
        if verdict.wait_s > 0:
            self._record(sha, "limited", tokens)
            return protocol.rate_limited(verdict.wait_s, headers)
        fault = self._plan.draw(sha)
        self._record(sha, fault or _ANSWERED, tokens)
        hangs = fault is TeacherFault.TIMEOUT
        await asyncio.sleep(self._settings.latency_s + self._settings.hang_s * hangs)
        if (failure := protocol.failure(fault, headers)) is not None:
            return failure
        content, finish = self._content(text, fault, body, sha)
        times = 2 if fault is TeacherFault.DUPLICATE else 1
        return JSONResponse(
            protocol.completion(body["model"], sha, content, finish, prompt_tokens, times=times),
            headers=headers,
        )

    def _content(
        self, text: str, fault: TeacherFault | None, body: dict[str, Any], sha: str
    ) -> tuple[str, str]:
        if fault is TeacherFault.REFUSAL:
            return rules.REFUSAL_TEXT, "content_filter"
        if fault is TeacherFault.NONSENSE:
            return rules.nonsense(sha, self._settings.seed), "stop"
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        if fault is TeacherFault.LENGTH:
            limit = int(rules.count_tokens(text) * rules.CUT_SHARE)
        if limit is not None and rules.count_tokens(text) > limit:
            return " ".join(text.split()[: int(limit)]), "length"
        return text, "stop"

    def _authorised(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        key = self._settings.api_key
        return key is None or hmac.compare_digest(given.encode(), key.encode())

    def _record(self, sha: str, outcome: str, tokens: int = 0) -> None:
        self._counts[outcome] += 1
        if self._log is not None:
            line = {"time": time.time(), "message_sha256": sha, "outcome": outcome, "tokens": tokens}
            os.write(self._log, (json.dumps(line) + "\n").encode())


def _open_log(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _parse_fault(text: str) -> tuple[TeacherFault, float]:
    kind, _, share = text.partition("=")
    return TeacherFault(kind), float(share)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    defaults = TeacherSettings()
    parser = argparse.ArgumentParser(prog="figa_core.sandbox.teacher", description="A scripted reviser.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="gets the port once the server listens")
    parser.add_argument("--log", type=Path, help="JSONL file, one line a request, written before answering")
    for name in _NUMBERS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(defaults, name))
    parser.add_argument("--model", default=defaults.model, help="the one model name it answers to")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of the injected faults")
    parser.add_argument("--api-key-env", help="environment variable with the key it asks for; none: any key")
    kinds = ", ".join(TeacherFault)
    parser.add_argument(
        "--fault", type=_parse_fault, action="append", default=[], metavar="KIND=SHARE", help=kinds
    )
    options = parser.parse_args(arguments)
    if options.api_key_env and not os.environ.get(options.api_key_env):
        parser.error(f"--api-key-env: the environment variable {options.api_key_env} is not set")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until killed."""
    if PARENT_PID_VARIABLE in os.environ:
        die_with_parent()
    options = _parse(arguments)
    settings = TeacherSettings(
        **{name: getattr(options, name) for name in (*_NUMBERS, "seed", "model", "log")},
        api_key=os.environ[options.api_key_env] if options.api_key_env else None,
        faults=dict(options.fault),
    )
    listener = socket.create_server(("127.0.0.1", options.port), backlog=1024)
    # Accepted sockets inherit it; without it every answer waits 40 ms for a delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        Teacher(settings).app(),
        log_config=None,
        log_level="critical",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,  # longer than clients keep an idle connection, or both close it at once
        ws="none",
    )
    if options.port_file is not None:
        write_whole(options.port_file, str(listener.getsockname()[1]).encode())
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
