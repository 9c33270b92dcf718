"""The deployment `figa/sandbox`: a run to try before you have a model, prompts and a key.

    make serve SANDBOX=1

It uses the sandbox of `make demo`, with the scripted teacher as the provider, and every field of the form is
filled in.
"""

from collections.abc import Callable
from pathlib import Path

from prefect.client.orchestration import get_client

from figa_core.sandbox.build import build_sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from flows.demo import SANDBOX, demo_config, sandbox_paths
from flows.server.elsewhere import is_deployed

NAME = "sandbox"


class SandboxTeacher:
    """The teacher process, and the deployment that uses it."""

    def __init__(self, root: Path, workspace: Path, port: int, say: Callable[[str], None]) -> None:
        """Build the sandbox in `root` unless it exists (one to two minutes), and start the teacher on `port`.

        The port must stay the same, so that Retry finds the teacher after a restart.
        """
        self._sandbox = build_sandbox(root, on_progress=say)
        self._workspace = workspace
        self.process = TeacherProcess(port=port, requests_per_minute=6000)

    async def deploy(self) -> None:
        """Create the deployment unless it exists."""
        if await is_deployed(f"figa/{NAME}"):
            return
        config = demo_config(SANDBOX, self._workspace, sandbox_paths(self._sandbox), self.process.base_url)
        async with get_client() as client:
            figa = await client.read_deployment_by_name("figa/figa")
            await client.create_deployment(
                flow_id=figa.flow_id,
                name=NAME,
                description="The whole pipeline on the sandbox of `make demo`, with every field filled in: "
                "no key, no network, no GPU.",
                parameters={"config": config.model_dump(mode="json")},
                entrypoint=figa.entrypoint,
                path=figa.path,
                pull_steps=figa.pull_steps,
                parameter_openapi_schema=figa.parameter_openapi_schema,
                enforce_parameter_schema=True,
                work_pool_name=figa.work_pool_name,
                work_queue_name=figa.work_queue_name,
                job_variables=figa.job_variables,
                tags=[*figa.tags, NAME],
            )
