"""The deployment `figa/sandbox`: a run to try before you have a model, prompts and a key.

    make serve SANDBOX=1

It uses the embedded world of `make demo` with its scripted teacher as the provider, and every field of the
form is filled in.
"""

from collections.abc import Callable
from pathlib import Path

from prefect.client.orchestration import get_client

from figa_core.sandbox.build import build_sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from flows.demo import KEY, KEY_VARIABLE, demo_config
from flows.server.elsewhere import is_deployed

NAME = "sandbox"
REQUESTS_PER_MINUTE = 6000


class SandboxTeacher:
    """The teacher, and what a run needs of the sandbox. The teacher dies with the thread that made this."""

    def __init__(self, root: Path, workspace: Path, port: int, say: Callable[[str], None]) -> None:
        """Builds the sandbox in `root` unless it exists (one to two minutes).

        `port` is the teacher's. It must stay the same, so that Retry finds the teacher after a restart.
        """
        self._sandbox = build_sandbox(root, on_progress=say)
        self._workspace = workspace
        self.process = TeacherProcess(port=port, requests_per_minute=REQUESTS_PER_MINUTE)

    @property
    def environment(self) -> dict[str, str]:
        """What the workers need to reach it."""
        return {KEY_VARIABLE: KEY}

    async def deploy(self) -> None:
        """Create the deployment unless it exists."""
        config = demo_config(self._workspace, self._sandbox, self.process.base_url)
        if await is_deployed(f"figa/{NAME}"):
            return
        async with get_client() as client:
            figa = await client.read_deployment_by_name("figa/figa")
            await client.create_deployment(
                flow_id=figa.flow_id,
                name=NAME,
                description="The whole story on the world of `make demo`, with everything filled in: "
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
