"""The teacher as a child process that never outlives the run that started it."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from figa_core.errors import EngineError
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from figa_core.sandbox.teacher_rules import TeacherFault


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
        environment: Mapping[str, str] | None = None,
        **options: float | str,
    ) -> None:
        """`options` are the command line's, with underscores, such as `requests_per_minute` or `domain`.

        `environment` adds variables to the child's. Without `log` a temporary file is used.
        """
        self._directory = tempfile.TemporaryDirectory(prefix="figa-teacher-")
        scratch = Path(self._directory.name)
        self.log = log or scratch / "requests.jsonl"
        self._port_file, self._errors = scratch / "port", scratch / "stderr"
        self._environment = child_environment(**(environment or {}))
        self._command = [sys.executable, "-m", "figa_core.sandbox.teacher"]
        self._command += ["--port-file", str(self._port_file), "--log", str(self.log)]
        for kind, share in (faults or {}).items():
            self._command += ["--fault", f"{kind}={share}"]
        for name, value in options.items():
            self._command += [f"--{name.replace('_', '-')}", str(value)]
        self._process: Child | None = None
        self._port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def pid(self) -> int:
        assert self._process is not None, "use it in a `with` block"
        return self._process.pid

    def requests(self) -> int:
        """How many requests this log holds, of all teachers that wrote to it, whatever became of them."""
        return len(self.log.read_bytes().splitlines()) if self.log.exists() else 0

    def start(self) -> Self:
        """Start the server and wait until it listens.

        Raises EngineError if it ended or did not listen in time; the message has the end of its output.
        """
        self._port_file.unlink(missing_ok=True)
        self._process = Child(self._command, self._errors, environment=self._environment)
        if not self._process.wait_until(self._port_file.exists, timeout_s=60):
            output = self._process.log_tail()
            self.__exit__()
            raise EngineError(f"the sandbox teacher did not start ({' '.join(self._command)}): {output}")
        self._port = int(self._port_file.read_text(encoding="ascii"))
        return self

    def stop(self) -> None:
        """Stop the server; the log stays if it was given."""
        if self._process is not None:
            self._process.stop()
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._directory.cleanup()
