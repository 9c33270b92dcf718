"""Prefect's server application, run as a child process by `flows.server.process`.

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

        # Before the UI, which answers every other path.
        application.router.routes.insert(0, Mount(REPORTS_ROUTE, StaticFiles(directory=reports)))
    return application


if __name__ == "__main__":
    die_with_parent()
    parser = argparse.ArgumentParser(prog="flows.server")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--reports", type=Path)
    options = parser.parse_args()
    import uvicorn

    uvicorn.run(
        _application(options.reports),
        host="127.0.0.1",
        port=options.port,
        log_level="error",
        lifespan="on",
        timeout_graceful_shutdown=2,
    )
