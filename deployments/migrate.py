"""Prepares a Prefect server's database: its schema, and the types of blocks. `docker/compose.yaml` runs it.

    python -m deployments.migrate           (with PREFECT_API_DATABASE_CONNECTION_URL set)

It runs once before the server's processes. Each of them would otherwise add the types of blocks to an empty
database at its start, and the second one would end with an error, and the server with it.
"""

import asyncio
import subprocess
import sys


def main() -> int:
    """Prepare it; the exit code of Prefect's own migration if that fails."""
    upgrade = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    if code := subprocess.run(upgrade, check=False).returncode:
        return code
    asyncio.run(_register_blocks())
    print("Types of blocks registered.")
    return 0


async def _register_blocks() -> None:
    from prefect.server.database import provide_database_interface
    from prefect.server.models.block_registration import run_block_auto_registration

    async with await provide_database_interface().session() as session:
        await run_block_auto_registration(session)  # has transactions of its own


if __name__ == "__main__":
    sys.exit(main())
