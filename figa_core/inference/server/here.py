"""vLLM servers on this machine, one for each copy of a model.

They end with the process that starts them, in whatever way it ends (`vllm_server`).
"""

import errno
import socket
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from figa_core.errors import EngineError, TrainingError
from figa_core.inference.checkpoint import weights_bytes
from figa_core.inference.choice import CPU
from figa_core.inference.copies import CopyPlace, places_of
from figa_core.inference.devices import vllm_device, vllm_gpus
from figa_core.inference.engine import Tell
from figa_core.inference.out_of_memory import memory_advice
from figa_core.inference.server.launch import Launch
from figa_core.inference.server.order import (
    LOOPBACK,
    ON_LOOPBACK,
    OWN_NAME,
    Listening,
    Order,
    url_of,
)
from figa_core.inference.vllm_process import threads_for
from figa_core.inference.vllm_python import require_vllm_python
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from figa_core.training.nodes.addresses import own_address

_START_S = 1800.0  # a large model from a slow disk
_LOOK_S = 0.5
_ALL = ("0.0.0.0", "::")
_PORT_TAKEN = "address already in use"
# A proxy that the environment names, for the internet, does not reach this machine's own servers.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class _Server:
    process: Child
    own_url: str  # as this machine reaches it
    port: int


class ServersHere:
    """Servers of this machine; started by `start`."""

    def __init__(self, order: Order, logs: Path, listening: Listening = ON_LOOPBACK) -> None:
        """Each server's output goes to a file in `logs`. Raises EngineError without vLLM or its GPUs."""
        self._python, self._logs = require_vllm_python(), logs
        self._order, self._listening = order, listening
        self._places = places_of(order.copies, vllm_gpus())
        self._servers: list[_Server] = []

    @property
    def urls(self) -> tuple[str, ...]:
        """Their addresses as the run reaches them. Raises EngineError if this machine has none."""
        if not self._servers:
            return ()
        address = _address(self._listening)
        return tuple(url_of(address, server.port) for server in self._servers)

    def start(self, tell: Tell, still_wanted: Callable[[], None] = lambda: None) -> None:
        """Start them and wait until all answer; `still_wanted` is called meanwhile, and may raise.

        Raises EngineError with the end of a log if one does not start, or if a port is not free.
        """
        tell(f"starting {len(self._places)} vLLM server(s) for {self._order.base.name}")
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            ports = _ports(self._listening, len(self._places))
            for number, (place, port) in enumerate(zip(self._places, ports, strict=True), 1):
                self._servers.append(self._started(number, place, port))
            for server in self._servers:
                self._wait_for(server, still_wanted)
        except BaseException:
            self.stop()
            raise

    def trouble(self) -> str | None:
        """Why one of them has ended; None while all run."""
        for server in self._servers:
            if server.process.exit_code is not None:
                return self._why(server)
        return None

    def stop(self) -> None:
        """End them; may be called twice."""
        servers, self._servers = self._servers, []
        with ExitStack() as ends:
            for server in servers:
                ends.callback(server.process.stop, 20.0)

    def _started(self, number: int, place: CopyPlace, port: int) -> _Server:
        order = self._order
        launch = Launch(
            order.base,
            port=port,
            host=self._listening.host,
            name=order.name,
            max_length=order.max_length,
            gpu_memory_share=order.gpu_memory_share,
            tensor_parallel=order.copies.tensor_parallel,
            lora_rank=order.lora_rank,
            on_cpu=vllm_device() is CPU,
        )
        threads = threads_for(weights_bytes(order.base), len(self._places))
        environment = child_environment(VLLM_API_KEY=order.key, **place.environment)
        for name, value in {**launch.environment(), "OMP_NUM_THREADS": str(threads)}.items():
            environment.setdefault(name, value)
        log = self._logs / f"server-{number}.log"
        log.write_bytes(b"")
        try:
            process = Child(launch.command(self._python), log, environment=environment)
        except OSError as error:
            raise EngineError(f"{self._python}: cannot start vLLM's server: {error.strerror}.") from error
        return _Server(process, url_of(_own_host(self._listening), port), port)

    def _wait_for(self, server: _Server, still_wanted: Callable[[], None]) -> None:
        def answers() -> bool:
            still_wanted()
            return _is_healthy(server.own_url)

        if not server.process.wait_until(answers, timeout_s=_START_S, poll_s=_LOOK_S):
            raise EngineError(self._why(server))

    def _why(self, server: _Server) -> str:
        process = server.process
        code, tail = process.exit_code, process.log_tail(400)
        how = f"ended with code {code}" if code is not None else f"did not answer in {_START_S:.0f} s"
        advice = memory_advice(tail, code, "generation") or ""
        if not advice and code is not None and _PORT_TAKEN in tail:
            advice = _taken(self._listening, server.port)
        return (
            f"vLLM's server for {self._order.base} {how}. {advice + ' ' if advice else ''}Its log is "
            f"{process.log}. Its last lines:\n{process.log_tail(15)}"
        )


def _ports(listening: Listening, count: int) -> list[int]:
    """Ports that are free now. Raises EngineError if one of those in the settings is not."""
    first = listening.port
    wanted = [None] * count if first is None else [first + number for number in range(count)]
    with ExitStack() as probes:  # all at once, so that none is given twice
        return [_free(listening, port, probes) for port in wanted]


def _free(listening: Listening, port: int | None, probes: ExitStack) -> int:
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    probe = probes.enter_context(socket.socket(family))
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as vLLM does: a past connection may linger
    try:
        probe.bind((listening.host, port or 0))
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise EngineError(_taken(listening, port)) from error
        raise EngineError(
            f"generation.serving: {socket.gethostname()} cannot listen on {listening.host}, port "
            f"{port or 'any'}: {error}. Give an address of that machine (listen), or 0.0.0.0 for all of "
            "them, and a port that may be used."
        ) from error
    return int(probe.getsockname()[1])


def _taken(listening: Listening, port: int | None) -> str:
    return (
        f"generation.serving.port: another program on {socket.gethostname()} uses port {port} of "
        f'{listening.host}. Choose another one, or "none" for one that is free.'
    )


def _own_host(listening: Listening) -> str:
    if listening.host in _ALL:
        return "::1" if ":" in listening.host else LOOPBACK
    return listening.host


def _address(listening: Listening) -> str:
    if listening.address is not None:
        return listening.address.replace(OWN_NAME, socket.gethostname())
    if listening.host not in _ALL:
        return listening.host
    try:
        return own_address()
    except TrainingError as error:
        raise EngineError(
            f"{socket.gethostname()} has no address that another machine could reach. Connect it to a "
            "network, or name one: generation.serving.address."
        ) from error


def _is_healthy(url: str) -> bool:
    try:
        with DIRECT.open(f"{url}/health", timeout=5):
            return True
    except OSError:
        return False
