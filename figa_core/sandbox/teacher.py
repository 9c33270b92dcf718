"""The teacher: a local server that speaks the OpenAI chat-completions protocol and corrects by rule.

    python -m figa_core.sandbox.teacher --port 0 --port-file F --log requests.jsonl --requests-per-minute 6000

With `--domain structured` it corrects the drafts of that domain (`figa_core/domains`), declines those that a
few edits cannot correct, and answers in JSON if it is asked to.

It takes the place of a provider's LLM: only `base_url`, `model` and the key differ. It listens on the
loopback interface only. Every request is logged before it is answered, so the log is complete even after a
kill.
"""

import argparse
import asyncio
import hmac
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from figa_core.domains.base import NAMES, load_domain
from figa_core.domains.teaching import as_asked, correction
from figa_core.files import write_whole
from figa_core.processes.children import PARENT_PID_VARIABLE, die_with_parent
from figa_core.sandbox import teacher_protocol as protocol
from figa_core.sandbox import teacher_rules as rules
from figa_core.sandbox.teacher_rules import FaultPlan, SlidingWindow, TeacherFault

_DECLINED = "This cannot be corrected with a few edits."
_CHOICES = {TeacherFault.DUPLICATE: 2, TeacherFault.EMPTY_CHOICES: 0}


class Teacher:
    """The state behind the routes: the windows, the fault plan and the log."""

    def __init__(self, options: argparse.Namespace) -> None:
        """`options` as `_parse` returns them."""
        limits = options.requests_per_minute, options.tokens_per_minute
        self._windows = [SlidingWindow(*limits, options.window_s)]
        if options.burst_factor > 0:
            requests, tokens = (limit * options.burst_factor for limit in limits)
            self._windows.append(SlidingWindow(requests, tokens, window_s=1.0))
        self._plan = FaultPlan(dict(options.fault), options.seed)
        self._key = os.environ[options.api_key_env].encode() if options.api_key_env else None
        self._latency_s, self._hang_s, self._seed = options.latency_s, options.hang_s, options.seed
        self._mistakes = options.mistakes
        self._domain = None if options.domain is None else load_domain(options.domain)
        self._log: int | None = None
        if options.log is not None:
            options.log.parent.mkdir(parents=True, exist_ok=True)
            self._log = os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/models", self._models),
            ]
        )

    async def _models(self, request: Request) -> Response:
        if not self._authorised(request):
            return protocol.wrong_key()
        model = {"id": rules.MODEL, "object": "model", "created": 0, "owned_by": "figa-sandbox"}
        return JSONResponse({"object": "list", "data": [model]})

    async def _complete(self, request: Request) -> Response:
        body, user_text = protocol.read_body(await request.body())
        sha = rules.message_hash(user_text)
        if not self._authorised(request):
            refused = protocol.wrong_key()
        elif body is None:
            refused = protocol.error(400, "Expected a JSON object with 'messages'.")
        elif body.get("model") != rules.MODEL:
            text = f"The model {body.get('model')!r} does not exist."
            refused = protocol.error(404, text, code="model_not_found")
        else:
            return await self._answer(body, user_text, sha)
        self._record(sha, str(refused.status_code))
        return refused

    async def _answer(self, body: dict[str, Any], user_text: str, sha: str) -> Response:
        text = await self._correction(body, user_text)
        prompt_tokens = sum(rules.count_tokens(str(m.get("content", ""))) for m in body["messages"])
        tokens = prompt_tokens + rules.count_tokens(text)
        now = time.monotonic()
        wait_s = rules.admit(self._windows, now, tokens)
        headers = protocol.limit_headers(self._windows[0], now)
        if wait_s > 0:
            self._record(sha, "limited", tokens)
            return protocol.rate_limited(wait_s, headers)
        fault = self._plan.draw(sha)
        self._record(sha, fault or "answered", tokens)
        await asyncio.sleep(self._latency_s + self._hang_s * (fault is TeacherFault.TIMEOUT))
        if (failure := protocol.failure(fault, headers)) is not None:
            return failure
        content, finish = self._content(text, fault, body, sha)
        choices = _CHOICES.get(fault, 1) if fault else 1
        declined = _DECLINED if text == _DECLINED and fault is None else None
        answer = protocol.completion(sha, content, finish, prompt_tokens, choices=choices, refusal=declined)
        return JSONResponse(answer, headers=headers)

    async def _correction(self, body: dict[str, Any], user_text: str) -> str:
        if self._domain is None:
            return rules.answer(user_text, self._mistakes, self._seed)
        # In a thread: the domain of code runs it.
        text = await asyncio.to_thread(correction, self._domain, user_text)
        return _DECLINED if text is None else as_asked(text, body)

    def _content(
        self, text: str, fault: TeacherFault | None, body: dict[str, Any], sha: str
    ) -> tuple[str, str]:
        """The answer's text and its finish reason."""
        if fault is TeacherFault.REFUSAL:
            return "I'm sorry, but I can't help with that.", "content_filter"
        if fault is TeacherFault.NONSENSE:
            return rules.nonsense(sha, self._seed), "stop"
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        if fault is TeacherFault.LENGTH:
            limit = rules.count_tokens(text) // 2
        if limit is not None and rules.count_tokens(text) > limit:
            return " ".join(text.split()[: int(limit)]), "length"
        return text, "stop"

    def _authorised(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        return self._key is None or hmac.compare_digest(given.encode(), self._key)

    def _record(self, sha: str, outcome: str, tokens: int = 0) -> None:
        if self._log is not None:
            line = {"time": time.time(), "message_sha256": sha, "outcome": outcome, "tokens": tokens}
            os.write(self._log, (json.dumps(line) + "\n").encode())


def _parse_fault(text: str) -> tuple[TeacherFault, float]:
    kind, _, share = text.partition("=")
    return TeacherFault(kind), float(share)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="figa_core.sandbox.teacher", description="A scripted reviser.")
    add = parser.add_argument
    add("--port", type=int, default=0, help="0: any free port")
    add("--port-file", type=Path, help="gets the port once the server listens")
    add("--domain", choices=NAMES, help="whose drafts it corrects; none: the sandbox's support replies")
    add("--log", type=Path, help="JSONL file, one line per request, written before answering")
    add("--requests-per-minute", type=float, default=60_000)
    add("--tokens-per-minute", type=float, default=60_000_000)
    add("--window-s", type=float, default=60.0, help="seconds over which the limits are counted")
    burst = "times its share of the limits that a single second may bring, as many providers enforce; 0: off"
    add("--burst-factor", type=float, default=2.0, help=burst)
    add("--latency-s", type=float, default=0.0, help="seconds before every answer")
    add("--hang-s", type=float, default=600.0, help="further seconds before a timeout fault")
    add("--seed", type=int, default=0, help="of the injected faults and the mistakes")
    add("--mistakes", type=float, default=0.0, help="share of the sandbox's drafts that it makes worse")
    add("--api-key-env", help="environment variable with the key it accepts; none: any key")
    kinds = f"share of the requests that get this fault: {', '.join(TeacherFault)}"
    add("--fault", type=_parse_fault, action="append", default=[], metavar="KIND=SHARE", help=kinds)
    options = parser.parse_args()
    if not 0 <= options.mistakes <= 1 or (options.mistakes and options.domain):
        parser.error("--mistakes: a share from 0 to 1, and only without --domain")
    if options.api_key_env and not os.environ.get(options.api_key_env):
        parser.error(f"--api-key-env: the environment variable {options.api_key_env} is not set")
    return options


def main() -> None:
    if PARENT_PID_VARIABLE in os.environ:
        die_with_parent()
    options = _parse()
    listener = socket.create_server(("127.0.0.1", options.port), backlog=1024)
    # Accepted sockets inherit it; without it every answer waits 40 ms for a delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        Teacher(options).app(),
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
