"""Loading: the anonymous memory of a rank that reads its part of a model, and of one that reads all of it.

    python -m tests.benchmarks.loading [--quick]

The model has random weights, in bfloat16, in several files, and is loaded in float32: by one rank whole, and
by two with ZeRO-3. Each rank is a process of its own; its memory is that above what it has before it loads,
with all libraries imported. Prints a line and writes ``build/bench/loading.json``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from tests.benchmarks.figures import save, save_part, show
from tests.benchmarks.models import (
    QUICK_SHAPE,
    SMOLLM_SHAPE,
    SMOLLM_VOCABULARY,
    Shape,
    save_random_model,
)

_QUICK_VOCABULARY = 8000
_WARM_UP = Shape(hidden=64, layers=1, heads=2, key_value_heads=2, intermediate=96)
_FILES = 4
_LOOK_S = 0.002
_RANKS = 2


class Peak:
    """The most anonymous memory of this process while it is open, above that at its opening."""

    def __init__(self) -> None:
        self._begun = self._most = anonymous_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def bytes(self) -> int:
        return self._most - self._begun

    def look(self, *_: object) -> None:
        """Also called by a hook, when a weight was read and not yet partitioned."""
        self._most = max(self._most, anonymous_bytes())

    def _watch(self) -> None:
        while not self._done.wait(_LOOK_S):
            self.look()


def anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def measure(directory: Path) -> int:
    """In a rank: bytes while the model loads."""
    from torch.nn.modules.module import register_module_parameter_registration_hook

    from figa_core.training.model import load_model
    from figa_core.training.partitioned import load_partitioned

    ranks = int(os.environ["WORLD_SIZE"])
    config = _join() if ranks > 1 else None

    def load(model: Path) -> object:
        import torch

        return load_model(model) if config is None else load_partitioned(model, config, torch.device("cpu"))

    load(directory / "warm-up")
    with Peak() as peak:
        hook = register_module_parameter_registration_hook(peak.look)
        loaded = load(directory / "model")
        hook.remove()
        peak.look()
        del loaded
    return peak.bytes


def _join() -> dict[str, object]:
    """The process group, as `ZeroEngine` joins it, and DeepSpeed's settings."""
    import deepspeed.comm
    from deepspeed import ops

    ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.comm.init_distributed("gloo", verbose=False)
    return {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 3}}


def _write(directory: Path, *, quick: bool) -> float:
    """Both models; returns the gigabytes in float32. That of the small one pays for imports."""
    from transformers import AutoModelForCausalLM

    shape, vocabulary = (QUICK_SHAPE, _QUICK_VOCABULARY) if quick else (SMOLLM_SHAPE, SMOLLM_VOCABULARY)
    save_random_model(directory / "warm-up", _WARM_UP, 128)
    save_random_model(directory / "whole", shape, vocabulary)
    model = AutoModelForCausalLM.from_pretrained(directory / "whole", dtype="bfloat16")
    size = 4 * model.num_parameters()
    model.save_pretrained(directory / "model", max_shard_size=size // 2 // (_FILES - 1))
    return size / 1e9


def _on_ranks(directory: Path, ranks: int) -> float:
    """The most gigabytes of a rank."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    command += [f"--nproc-per-node={ranks}", "-m", "tests.benchmarks.loading", "--side", str(directory)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    subprocess.run(command, check=True, env=environment)
    return max(json.loads((directory / f"{ranks}.{rank}").read_text()) for rank in range(ranks)) / 1e9


def main() -> int:
    """Measure both ways, or one rank of one."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.loading")
    parser.add_argument("--quick", action="store_true", help="a small model: whether it runs at all")
    parser.add_argument("--side", type=Path, help="of this process: the directory of the models")
    arguments = parser.parse_args()
    if arguments.side:
        ranks, rank = os.environ["WORLD_SIZE"], os.environ["RANK"]
        (arguments.side / f"{ranks}.{rank}").write_text(json.dumps(measure(arguments.side)))
        return 0
    with tempfile.TemporaryDirectory() as made:
        size = _write(Path(made), quick=arguments.quick)
        whole, part = _on_ranks(Path(made), 1), _on_ranks(Path(made), _RANKS)
    show(
        f"GB of anonymous memory while {size:.3g} GB load: {part:.3g} in each of {_RANKS} ranks with ZeRO-3, "
        f"{whole:.3g} in one that loads the whole model, {part / whole:.2f}"
    )
    figures = {"model_gb": size, "whole_gb": whole, "part_gb": part, "loading_ratio": part / whole}
    save("loading-quick" if arguments.quick else "loading", figures)
    save_part("training-quick" if arguments.quick else "training", "loading", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
