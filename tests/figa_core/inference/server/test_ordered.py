"""Servers that a run has on another machine: processes here, with a stub in the place of vLLM."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from figa_core.errors import EngineError
from figa_core.inference.choice import Work
from figa_core.inference.elsewhere import Elsewhere
from figa_core.inference.engine import SERVER, Generating, Scoring
from figa_core.inference.engines import Engines
from figa_core.inference.server import ordered
from figa_core.inference.server.engine import ServerEngine
from figa_core.inference.server.order import Listening
from figa_core.inference.servers import Servers
from figa_core.ports import ScoringRequest
from figa_core.sandbox.build import Sandbox
from tests.figa_core.inference.outcomes import generations

from .adapters import merged, random_adapter
from .asking import REQUESTS, all_of
from .machine import LOST_AFTER_S, Machine
from .stub import STOP
from .vllm_stub import Vllm


@pytest.fixture
def machine(vllm: Vllm) -> Iterator[Machine]:
    machine = Machine()
    yield machine
    for run in machine.runs:
        with suppress(psutil.NoSuchProcess):
            for process in [*run.servers(), run.process]:
                process.kill()
        run.process.wait()


def _settings(model: Path, **changes: Any) -> Generating:
    servers = Servers((), managed=True, patience_s=1.5)
    settings = Generating(model, (STOP,), max_tokens=8, max_prompt_tokens=292, servers=servers)
    return replace(settings, **changes)


def _until(happened: Callable[[], Any], within_s: float = 60.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_a_base_and_its_adapters_share_a_server_and_nothing_is_left_afterwards(
    machine: Machine, vllm: Vllm, sandbox: Sandbox, tmp_path: Path
) -> None:
    adapters = [random_adapter(sandbox.base_model, tmp_path / f"adapter-{n}", seed=n) for n in (1, 2)]
    told: list[str] = []
    with ServerEngine(told.append, machine.pool()) as engine:
        for model in (sandbox.base_model, *adapters):
            drawn = engine.generator(_settings(model), tmp_path / "scratch").generate(REQUESTS)
            assert generations(drawn) == all_of(REQUESTS)
        [run], [folder] = machine.runs, machine.folders
        assert len(vllm.pids()) == 1
        assert {model for _, model, _ in vllm.asked()} == {str(m) for m in (sandbox.base_model, *adapters)}
        [line] = told
        assert line.startswith("base is served at http://127.0.0.1:")
        assert line.endswith(f"by process {run.process.pid} on {socket.gethostname()}")
    assert run.process.wait(30) == 0
    assert not [pid for pid in vllm.pids() if psutil.pid_exists(pid)]
    assert not folder.path.exists()
    assert run.ends == ["cancel"]  # which leaves alone what has begun


def test_whole_models_have_servers_of_their_own_in_turn(
    machine: Machine, vllm: Vllm, sandbox: Sandbox, tmp_path: Path
) -> None:
    adapter = random_adapter(sandbox.base_model, tmp_path / "adapter", seed=1)
    whole = merged(adapter, tmp_path / "whole")
    with Engines(servers=lambda tell: ServerEngine(tell, machine.pool())) as engines:
        for model in (sandbox.base_model, whole):
            work = Work(len(REQUESTS), 3.0, 8)
            engine = engines.generator(SERVER, _settings(model), work, tmp_path / "scratch")
            assert generations(engine.generate(REQUESTS)) == all_of(REQUESTS)
            assert len([pid for pid in vllm.pids() if psutil.pid_exists(pid)]) == 1
    assert len(machine.runs) == len(vllm.pids()) == 2


def test_the_key_is_in_a_file_of_the_user_and_in_no_log_command_or_order(
    machine: Machine, vllm: Vllm, sandbox: Sandbox, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    with ServerEngine(pool=machine.pool()) as engine:
        list(engine.generator(_settings(sandbox.base_model), scratch).generate(REQUESTS[:4]))
        [run], [folder] = machine.runs, machine.folders
        key = (folder.path / "key").read_text()
        assert len(key) == 32
        assert (folder.path / "key").stat().st_mode & 0o777 == 0o600
        for path in [path for path in scratch.rglob("*") if path.is_file() and path.name != "key"]:
            assert key not in path.read_text(), path
        for process in [psutil.Process(run.process.pid), *run.servers()]:
            assert key not in " ".join(process.cmdline())
        assert json.loads((vllm.folder / "keys").read_text().splitlines()[0]) == [f"Bearer {key}", key]
    assert not (folder.path / "key").exists()


OWNER = """
import sys, time
from pathlib import Path
from figa_core.inference.copies import Copies
from figa_core.inference.server.order import Order
from figa_core.inference.server.ordered import OrderedServers
from tests.figa_core.inference.server.machine import Machine
class Told(Machine):
    def start(self, folder):
        run = super().start(folder)
        print(run.process.pid, flush=True)
        return run
order = Order(Path(sys.argv[1]), "figa-test", "a-key", 300, 0.9, Copies(), 64)
OrderedServers(order, Path(sys.argv[2]), Told().pool()).start(lambda line: None)
print("up", flush=True)
time.sleep(600)
"""


@pytest.mark.slow  # it waits for what a run that is alive would have shown
@pytest.mark.parametrize("when", ["while it serves", "while it loads"])
def test_servers_of_a_killed_run_end_by_themselves(
    when: str, vllm: Vllm, sandbox: Sandbox, tmp_path: Path
) -> None:
    if when == "while it loads":
        (vllm.folder / "loads").touch()
    command = [sys.executable, "-c", OWNER, str(sandbox.base_model), str(tmp_path / "scratch")]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        serving = psutil.Process(int(owner.stdout.readline()))
        if when == "while it serves":
            assert owner.stdout.readline() == "up\n"
        family = [serving, *_until(serving.children)]
        owner.kill()
        owner.wait()
        assert serving.is_running()
        _, alive = psutil.wait_procs(family, timeout=LOST_AFTER_S + 45)
        assert alive == []
        [log] = (tmp_path / "scratch").glob("served-*.log")
        assert "shows no sign of life; it may have been killed" in log.read_text()
    finally:
        owner.kill()
        owner.communicate()


def test_the_next_run_ends_the_servers_of_a_killed_one_at_once(
    machine: Machine, sandbox: Sandbox, tmp_path: Path
) -> None:
    killed = ServerEngine(pool=machine.pool(lost_after_s=600.0))  # nobody closes it
    killed.generator(_settings(sandbox.base_model), tmp_path)
    with ServerEngine(pool=machine.pool()) as engine:
        engine.generator(_settings(sandbox.base_model), tmp_path)
        assert machine.runs[0].process.wait(30) == 0
    killed.close()


def test_what_a_server_says_while_it_loads_is_in_the_error(
    machine: Machine, vllm: Vllm, sandbox: Sandbox, tmp_path: Path
) -> None:
    (vllm.folder / "fails").write_text("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1 GiB")
    with ServerEngine(pool=machine.pool()) as engine:
        words = (
            rf"'workspace: serve a model' \(process \d+ on {socket.gethostname()}\): vLLM's server for .*"
            r"lower generation\.gpu_memory_share(.|\n)*Tried to allocate 1 GiB"
        )
        with pytest.raises(EngineError, match=words):
            engine.generator(_settings(sandbox.base_model), tmp_path)
    assert not machine.folders[0].path.exists()


def test_a_port_that_is_taken_is_named(machine: Machine, sandbox: Sandbox, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with ServerEngine(pool=machine.pool(Listening(port=port))) as engine:
            words = rf"generation\.serving\.port: another program on .* uses port {port} of 127\.0\.0\.1"
            with pytest.raises(EngineError, match=words):
                engine.generator(_settings(sandbox.base_model), tmp_path)


def test_a_fixed_port_is_the_servers_port(
    machine: Machine, vllm: Vllm, sandbox: Sandbox, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told: list[str] = []
    with ServerEngine(told.append, machine.pool(Listening(port=port, address="localhost"))) as engine:
        drawn = engine.generator(_settings(sandbox.base_model), tmp_path).generate(REQUESTS[:4])
        assert generations(drawn) == all_of(REQUESTS[:4])
    assert f"http://localhost:{port}" in told[0]
    assert len(vllm.pids()) == 1


@pytest.mark.parametrize(
    ("listening", "words"),
    [
        (
            Listening(address="127.0.0.9"),
            r"http://127\.0\.0\.9:\d+: .* and not here: .*generation\.serving\.address",
        ),
        (Listening(host="203.0.113.9"), r"cannot listen on 203\.0\.113\.9, port any: .*\(listen\)"),
    ],
)
def test_addresses_that_cannot_be_used_are_explained(
    listening: Listening,
    words: str,
    machine: Machine,
    sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ordered, "_REACH_S", 1.0)
    with (
        ServerEngine(pool=machine.pool(listening)) as engine,
        pytest.raises(EngineError, match=words),
    ):
        engine.generator(_settings(sandbox.base_model), tmp_path)
    assert machine.runs[0].process.wait(30) is not None


def test_a_server_that_listens_on_its_own_machine_only_is_told_apart_from_another_program_here(
    machine: Machine, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on two machines: at the address, as this one sees it, another program answers."""
    monkeypatch.setattr(ordered, "_REACH_S", 1.0)
    seen = ordered.OrderedServers._why_not
    monkeypatch.setattr(
        ordered.OrderedServers, "_why_not", lambda self, url: seen(self, "http://127.0.0.1:9")
    )
    with ServerEngine(pool=machine.pool()) as engine:
        words = r'only its own machine reaches\. Set generation\.serving\.listen = "0\.0\.0\.0"'
        with pytest.raises(EngineError, match=words):
            engine.generator(_settings(sandbox.base_model), tmp_path)


def test_another_model_on_the_machine_is_refused(
    machine: Machine, vllm: Vllm, sandbox: Sandbox, tmp_path: Path
) -> None:
    machine.fingerprint = "another"
    with (
        ServerEngine(pool=machine.pool()) as engine,
        pytest.raises(EngineError, match="is another model on this machine"),
    ):
        engine.generator(_settings(sandbox.base_model), tmp_path)
    assert not (vllm.folder / "asked").exists()


def test_a_run_that_ends_before_it_begins_is_the_reason(
    machine: Machine, sandbox: Sandbox, tmp_path: Path
) -> None:
    machine.program = "raise SystemExit(3)"
    with (
        ServerEngine(pool=machine.pool()) as engine,
        pytest.raises(EngineError, match=r"\(not begun\): Crashed: it ended with code 3"),
    ):
        engine.generator(_settings(sandbox.base_model), tmp_path)


def test_a_killed_server_is_the_reason_of_its_rows_and_the_next_stage_has_another(
    machine: Machine, vllm: Vllm, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = _settings(sandbox.base_model)
    with ServerEngine(pool=machine.pool()) as engine:
        rows = engine.generator(settings, tmp_path).generate(REQUESTS)
        [run] = machine.runs
        [server] = run.servers()
        os.kill(server.pid, signal.SIGKILL)
        run.process.wait(30)
        with pytest.raises(
            EngineError, match=r"vLLM's server for .* ended with code -9(.|\n)*no vLLM server"
        ):
            list(rows)
        assert generations(engine.generator(settings, tmp_path).generate(REQUESTS)) == all_of(REQUESTS)


def test_after_its_run_was_killed_the_next_stage_has_another(
    machine: Machine, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = _settings(sandbox.base_model)
    with ServerEngine(pool=machine.pool()) as engine:
        list(engine.generator(settings, tmp_path).generate(REQUESTS[:3]))
        [run] = machine.runs
        servers = run.servers()
        run.process.kill()
        assert psutil.wait_procs(servers, timeout=30)[1] == []
        _until(lambda: not engine.is_up(settings), LOST_AFTER_S + 45)
        assert generations(engine.generator(settings, tmp_path).generate(REQUESTS)) == all_of(REQUESTS)


def test_servers_without_work_end_and_come_back_with_it(
    machine: Machine, vllm: Vllm, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = _settings(sandbox.base_model)
    with ServerEngine(pool=machine.pool(idle_s=0.3)) as engine:
        for _ in range(2):
            assert generations(engine.generator(settings, tmp_path).generate(REQUESTS)) == all_of(REQUESTS)
            assert machine.runs[-1].process.wait(30) == 0
            assert not engine.is_up(settings)
    assert len(vllm.pids()) == 2


class NoRuns:
    """elsewhere.ShardRuns that looks at what is up when it is asked for a run."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look

    def start(self, task: str, folder: Path, number: int) -> Any:
        self._look()
        raise EngineError(f"no place for {task} {number} in {folder}")


def test_what_waits_for_the_machine_finds_it_free(
    machine: Machine, vllm: Vllm, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Scores are dealt to runs on the same pool, which may have one place."""
    found: list[int] = []
    elsewhere = Elsewhere(1, NoRuns(lambda: found.extend(filter(psutil.pid_exists, vllm.pids()))), str)
    with Engines(elsewhere=elsewhere, servers=lambda tell: ServerEngine(tell, machine.pool())) as engines:
        work = Work(len(REQUESTS), 3.0, 8)
        list(engines.generator(SERVER, _settings(sandbox.base_model), work, tmp_path).generate(REQUESTS))
        [server] = vllm.pids()
        assert psutil.pid_exists(server)
        scorer = engines.scorer("transformers", Scoring(sandbox.reward_model), work, tmp_path / "score")
        with pytest.raises(EngineError, match="no place for score"):
            list(scorer.score([ScoringRequest("text", (1, 2))]))
    assert found == []
