"""Prefect's server application, as the child process of `flows.server.process`.

python -m flows.server --port 4321
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from figa_core.processes.children import die_with_parent
from flows.server.names import REPORTS_ROUTE

if TYPE_CHECKING:
    from fastapi import FastAPI


def _application(reports: Path | None) -> "FastAPI":
    from prefect.server.api.server import create_app

    application = create_app()
    if reports is not None:
        from starlette.routing import Mount
        from starlette.staticfiles import StaticFiles

        # Before the UI, which answers every path that is left.
        application.router.routes.insert(0, Mount(REPORTS_ROUTE, StaticFiles(directory=reports)))
    return application


def _serve(port: int, reports: Path | None) -> None:
    import uvicorn

    uvicorn.run(
        _application(reports),
        host="127.0.0.1",
        port=port,
        log_level="error",
        lifespan="on",
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    die_with_parent()
    parser = argparse.ArgumentParser(prog="flows.server")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--reports", type=Path)
    options = parser.parse_args()
    _serve(options.port, options.reports)
