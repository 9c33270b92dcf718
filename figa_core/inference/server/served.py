"""vLLM servers that a run starts on this machine for itself, one for each copy of the model to sample.

They end with it, in whatever way it ends (`vllm_server`). Adapters are loaded into a running server, so that
several trained by LoRA need their base only once.
"""

import json
import secrets
import socket
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from figa_core.errors import EngineError
from figa_core.inference.checkpoint import weights_bytes
from figa_core.inference.choice import CPU
from figa_core.inference.copies import CopyPlace, places_of
from figa_core.inference.devices import vllm_device, vllm_gpus
from figa_core.inference.engine import Generating, Tell
from figa_core.inference.out_of_memory import memory_advice
from figa_core.inference.server.launch import Launch, lora_rank_of, rank_of
from figa_core.inference.vllm_process import threads_for
from figa_core.inference.vllm_python import require_vllm_python
from figa_core.models.adapter import is_adapter, underlying
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment

_START_S = 1800.0  # a large model from a slow disk
_LOOK_S = 0.5
_LOAD_S = 300.0
# A proxy that the environment names, for the internet, does not reach this machine's own servers.
_HERE = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServedModel:
    """Servers of one base model and its adapters; started by `start`."""

    def __init__(self, settings: Generating, logs: Path) -> None:
        """Each server's output goes to a file in `logs`. Raises EngineError without vLLM or its GPUs."""
        self._python, self._logs = require_vllm_python(), logs
        self._settings, self.base = settings, underlying(settings.model)
        self._rank = lora_rank_of(settings.model)
        self._places = places_of(settings.copies, vllm_gpus())
        self._name, self.key = f"figa-{secrets.token_hex(4)}", secrets.token_hex(16)
        self._servers: list[Child] = []
        self._adapters: dict[Path, str] = {}
        self.urls: tuple[str, ...] = ()

    def fits(self, settings: Generating) -> bool:
        """Whether these servers run and can do the work of `settings`."""
        ours = self._settings
        alike = (
            settings.max_length <= ours.max_length
            and settings.gpu_memory_share == ours.gpu_memory_share
            and settings.copies == ours.copies
            and underlying(settings.model) == self.base
        )
        if alike and is_adapter(settings.model):
            alike = rank_of(settings.model) <= self._rank
        return alike and bool(self._servers) and all(each.exit_code is None for each in self._servers)

    def start(self, tell: Tell) -> None:
        """Start them and wait until all answer. Raises EngineError with the end of a log if one does not."""
        tell(f"starting {len(self._places)} vLLM server(s) for {self.base.name}")
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            for number, place in enumerate(self._places, 1):
                self._start_one(number, place)
            for url, server in zip(self.urls, self._servers, strict=True):
                self._wait_for(url, server)
        except BaseException:
            self.stop()
            raise

    def name_of(self, model: Path) -> str:
        """The name under which a model is served; an adapter is loaded if it is not yet.

        Raises EngineError if a server refuses it.
        """
        if not is_adapter(model):
            return self._name
        if model not in self._adapters:
            name = f"{self._name}-adapter-{len(self._adapters) + 1}"
            for url in self.urls:
                self._load(url, name, model)
            self._adapters[model] = name
        return self._adapters[model]

    def stop(self) -> None:
        """End them; may be called twice."""
        servers, self._servers, self.urls = self._servers, [], ()
        with ExitStack() as ends:
            for server in servers:
                ends.callback(server.stop, 20.0)

    def _start_one(self, number: int, place: CopyPlace) -> None:
        settings, on_cpu = self._settings, vllm_device() is CPU
        launch = Launch(
            self.base,
            port=_free_port(),
            name=self._name,
            max_length=settings.max_length,
            gpu_memory_share=settings.gpu_memory_share,
            tensor_parallel=settings.copies.tensor_parallel,
            lora_rank=self._rank,
            on_cpu=on_cpu,
        )
        threads = threads_for(weights_bytes(self.base), len(self._places))
        environment = child_environment(VLLM_API_KEY=self.key, **place.environment)
        for name, value in {**launch.environment(), "OMP_NUM_THREADS": str(threads)}.items():
            environment.setdefault(name, value)
        log = self._logs / f"server-{number}.log"
        log.write_bytes(b"")
        try:
            server = Child(launch.command(self._python), log, environment=environment)
        except OSError as error:
            raise EngineError(f"{self._python}: cannot start vLLM's server: {error.strerror}.") from error
        self._servers.append(server)
        self.urls = (*self.urls, f"http://127.0.0.1:{launch.port}")

    def _wait_for(self, url: str, server: Child) -> None:
        if server.wait_until(lambda: _is_healthy(url), timeout_s=_START_S, poll_s=_LOOK_S):
            return
        code = server.exit_code
        how = f"ended with code {code}" if code is not None else f"did not answer in {_START_S:.0f} s"
        advice = memory_advice(server.log_tail(400), code, "generation")
        raise EngineError(
            f"vLLM's server for {self.base} {how}. {advice + ' ' if advice else ''}Its log is {server.log}. "
            f"Its last lines:\n{server.log_tail(15)}"
        )

    def _load(self, url: str, name: str, adapter: Path) -> None:
        request = urllib.request.Request(
            f"{url}/v1/load_lora_adapter",
            json.dumps({"lora_name": name, "lora_path": str(adapter)}).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"},
        )
        try:
            with _HERE.open(request, timeout=_LOAD_S):
                return
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:500]
        except OSError as error:
            said = str(error)
        raise EngineError(
            f"{adapter}: vLLM's server does not load this adapter: {said}. With generation.server.managed = "
            'false and generation.engine = "vllm" it is merged into its base instead.'
        )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _is_healthy(url: str) -> bool:
    try:
        with _HERE.open(f"{url}/health", timeout=5):
            return True
    except OSError:
        return False
