"""The teacher as a child process that never outlives the run that started it."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from figa_core.errors import EngineError
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from figa_core.sandbox.teacher_rules import TeacherFault

_START_TIMEOUT_S = 60.0


class TeacherProcess:
    """Starts the teacher on entering, stops it on leaving.

    with TeacherProcess(log=directory / "requests.jsonl", requests_per_minute=6000) as teacher:
        client = openai.OpenAI(base_url=teacher.base_url, api_key="any")
    """

    def __init__(
        self,
        *,
        log: Path | None = None,
        faults: Mapping[TeacherFault, float] | None = None,
        api_key_env: str | None = None,
        port: int = 0,
        environment: Mapping[str, str] | None = None,
        **options: float | str,
    ) -> None:
        """`options` are those of the command line with underscores, such as `requests_per_minute`.

        `environment` adds variables to the child's. Without `log` a temporary file is used.
        """
        self._directory = tempfile.TemporaryDirectory(prefix="figa-teacher-")
        self.log = log or Path(self._directory.name) / "requests.jsonl"
        self._port_file = Path(self._directory.name) / "port"
        self._environment = child_environment(**(environment or {}))
        command = [sys.executable, "-m", "figa_core.sandbox.teacher"]
        command += ["--port", str(port), "--port-file", str(self._port_file), "--log", str(self.log)]
        for kind, share in (faults or {}).items():
            command += ["--fault", f"{kind}={share}"]
        if api_key_env is not None:
            command += ["--api-key-env", api_key_env]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        self._command = command
        self._process: Child | None = None
        self._port = 0

    @property
    def base_url(self) -> str:
        """What the openai client takes as `base_url`."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def pid(self) -> int:
        """The server's process id; EngineError when it does not run."""
        if self._process is None:
            raise EngineError("the sandbox teacher does not run; use it in a `with` block.")
        return self._process.pid

    def requests(self) -> int:
        """Requests received so far, whatever became of them, by every teacher that wrote this log."""
        if not self.log.exists():
            return 0
        with self.log.open("rb") as file:
            return sum(1 for _ in file)

    def start(self) -> "TeacherProcess":
        """Start the server and wait until it listens.

        Raises:
            EngineError: it ended or did not listen in time; the message carries what it wrote.
        """
        errors = Path(self._directory.name) / "stderr"
        self._port_file.unlink(missing_ok=True)
        self._process = Child(self._command, errors, environment=self._environment)
        if not self._process.wait_until(self._port_file.exists, timeout_s=_START_TIMEOUT_S):
            said = self._process.last_words()
            self.stop()
            self._directory.cleanup()
            raise EngineError(f"the sandbox teacher did not start ({' '.join(self._command)}): {said}")
        self._port = int(self._port_file.read_text(encoding="ascii"))
        return self

    def stop(self) -> None:
        """Stop the server; the log stays where it was given."""
        if self._process is not None:
            self._process.stop()
        self._process = None

    def __enter__(self) -> "TeacherProcess":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._directory.cleanup()
