"""A stub in the place of vLLM's interpreter; its servers are processes of their own."""

import json
import sys
from pathlib import Path

# Takes vLLM's options and writes what it is asked into HERE/asked.
SERVER = """
import json, os, sys, time
from pathlib import Path
from figa_core.processes.children import die_with_parent
from tests.figa_core.inference.server.stub import StubServer
die_with_parent()
here = Path(sys.argv[1])
options = dict(zip(sys.argv[2:], sys.argv[3:]))
with (here / "started").open("a") as file:
    print(json.dumps(sys.argv[2:]), file=file)
if (here / "fails").exists():
    sys.exit((here / "fails").read_text())
while (here / "loads").exists():
    time.sleep(0.05)
stub = StubServer(name=options["--served-model-name"], port=int(options["--port"]))
async def note(body):
    with (here / "asked").open("a") as file:
        model = stub.adapters.get(body["model"], options["--model"])
        print(json.dumps([os.getpid(), model, body["seed"]]), file=file)
    with (here / "keys").open("a") as file:
        print(json.dumps([stub.headers[-1].get("Authorization"), os.environ["VLLM_API_KEY"]]), file=file)
stub.before = note
stub.start()
time.sleep(600)
"""


class Vllm:
    """The stub's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "server.py").write_text(SERVER)
        self.python = folder / "python"
        run = f'exec {sys.executable} {folder}/server.py {folder} "$@"'
        self.python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit 0\nshift 2\n{run}\n')
        self.python.chmod(0o755)

    def asked(self) -> list[tuple[int, str, int]]:
        """The server's pid, the directory of the model and the row's seed, of each request."""
        return [tuple(json.loads(line)) for line in (self.folder / "asked").read_text().splitlines()]

    def started(self) -> list[list[str]]:
        """The options of each start."""
        return [json.loads(line) for line in (self.folder / "started").read_text().splitlines()]

    def pids(self) -> set[int]:
        return {pid for pid, _, _ in self.asked()}
