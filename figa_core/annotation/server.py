"""The annotation page over HTTP, on this machine only.

The page's files are static; all that comes from rows is JSON, which the script puts into text nodes, so
that markup in it stays text. The policy in the headers allows no other script. Requests for another host, or
from another site's page, are refused: a browser would otherwise let any page that the person visits write
here.
"""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from figa_core.annotation.changes import Verdict
from figa_core.annotation.desk import Desk
from figa_core.errors import AnotherJobError, ConfigError, FigaError, InputError, WorkspaceBusyError
from figa_core.report.html import TEMPLATES

HOST = "127.0.0.1"
_PAGE = Path(__file__).parent / "page"
_FILES = {
    "/": (_PAGE / "index.html", "text/html"),
    "/annotate.js": (_PAGE / "annotate.js", "text/javascript"),
    "/annotate.css": (_PAGE / "annotate.css", "text/css"),
    "/spoken_edits.css": (TEMPLATES / "spoken_edits.css", "text/css"),  # the report's, too
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_BODY_MAX = 2_000_000


class _Said(BaseModel):
    """What every message of the page says."""

    model_config = ConfigDict(extra="forbid", strict=True)
    shard_set_id: str
    pair_id: str
    annotator: str


class _Judged(_Said):
    change: str
    verdict: str
    blind: bool


class _ThrownOut(_Said):
    out: bool
    reason: str = ""


class _Corrected(_Said):
    text: str
    based_on: str


def application(desk: Desk) -> Starlette:
    """The page and what it asks for."""
    gets = {"/api/state": _state, "/api/next": _next, "/api/pair": _pair}
    posts = {"/api/judgement": _judge, "/api/exclusion": _throw_out, "/api/correction": _correct}
    routes = [Route(path, _file) for path in _FILES]
    routes += [Route(path, _answering(desk, answer), methods=["GET"]) for path, answer in gets.items()]
    routes += [Route(path, _answering(desk, answer), methods=["POST"]) for path, answer in posts.items()]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"]),
            Middleware(BaseHTTPMiddleware, dispatch=_guarded),
        ],
    )


def listen(port: int) -> socket.socket:
    """A socket on this machine's loopback; port 0 is any free one.

    Raises:
        ConfigError: the port is taken.
    """
    try:
        listening = socket.create_server((HOST, port))
    except OSError as error:
        raise ConfigError(
            f"--port {port}: cannot listen there: {error.strerror}. Choose another, or 0 for a free one."
        ) from error
    # Accepted sockets inherit it; without it every answer waits 40 ms for a delayed acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def serve(desk: Desk, listening: socket.socket) -> None:
    """Answer until Ctrl-C."""
    config = uvicorn.Config(application(desk), log_level="warning", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listening])


async def _guarded(request: Request, call_next: RequestResponseEndpoint) -> Response:
    origin = request.headers.get("origin")
    if request.method == "POST" and (
        request.headers.get("content-type", "").partition(";")[0] != "application/json"
        or (origin is not None and origin != f"{request.url.scheme}://{request.headers.get('host')}")
    ):
        response: Response = JSONResponse({"error": "only this page may write here."}, 403)
    else:
        response = await call_next(request)
    response.headers.update(_HEADERS)
    return response


async def _file(request: Request) -> Response:
    file, kind = _FILES[request.url.path]
    return Response(file.read_bytes(), media_type=kind)


_Answer = Callable[[Desk, Any], Any]


def _answering(desk: Desk, answer: _Answer) -> Callable[[Request], Any]:
    """An endpoint that gets the query or the body, works in a thread, and turns our errors into messages."""

    async def endpoint(request: Request) -> Response:
        try:
            said = await _body(request) if request.method == "POST" else dict(request.query_params)
            return JSONResponse(await run_in_threadpool(answer, desk, said))
        except (ValidationError, KeyError, ValueError) as error:
            return JSONResponse({"error": f"not a message of this page: {error}"}, 400)
        except WorkspaceBusyError as error:
            return JSONResponse({"error": str(error), "busy": True}, 409)
        except AnotherJobError as error:
            return JSONResponse({"error": str(error), "another_job": True}, 409)
        except InputError as error:
            return JSONResponse({"error": str(error)}, 409)
        except FigaError as error:
            return JSONResponse({"error": str(error)}, 503)

    return endpoint


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _BODY_MAX:
            raise ValueError(f"more than {_BODY_MAX:,} bytes")
    return body


def _state(desk: Desk, query: dict[str, str]) -> Any:
    return desk.state(query["annotator"])


def _next(desk: Desk, query: dict[str, str]) -> Any:
    return {"place": desk.next_place(query["annotator"], int(query["after"]))}


def _pair(desk: Desk, query: dict[str, str]) -> Any:
    return desk.pair(int(query["place"]), query["annotator"], blind=query.get("blind") == "1")


def _judge(desk: Desk, body: bytes) -> Any:
    said = _Judged.model_validate_json(body)
    verdict = Verdict(said.verdict)
    finished = desk.judge(
        said.shard_set_id, said.pair_id, said.change, said.annotator, verdict, blind=said.blind
    )
    return {"finished": finished}


def _throw_out(desk: Desk, body: bytes) -> Any:
    said = _ThrownOut.model_validate_json(body)
    if said.out:
        desk.throw_out(said.shard_set_id, said.pair_id, said.annotator, said.reason)
    else:
        desk.put_back(said.shard_set_id, said.pair_id)
    return {}


def _correct(desk: Desk, body: bytes) -> Any:
    said = _Corrected.model_validate_json(body)
    return desk.correct(said.shard_set_id, said.pair_id, said.annotator, said.text, based_on=said.based_on)
