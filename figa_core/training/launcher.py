"""Starts the ranks of one machine with torchrun: ``python -m figa_core.training.launcher --job job.json``.

It is a process between the run and its ranks, so that the ranks die with it, and it dies with the run.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from figa_core.processes.children import PARENT_PID_VARIABLE, die_with_parent
from figa_core.processes.tell import tell_troubles
from figa_core.training.job import TrainingJob
from figa_core.training.stop import PassedOnStop


def main() -> None:
    """Run until all ranks have ended; the exit code is 1 if one of them failed."""
    die_with_parent()
    tell_troubles()
    # A shell's background jobs inherit an ignored SIGINT, and torchrun handles only signals that are not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ[PARENT_PID_VARIABLE] = str(os.getpid())
    parser = argparse.ArgumentParser(prog="figa_core.training.launcher")
    parser.add_argument("--job", type=Path, required=True)
    path: Path = parser.parse_args().job
    job = TrainingJob.from_json(path.read_text(encoding="utf-8"), source=str(path))
    PassedOnStop(job.output)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // job.training.processes)))
    if sys.platform == "linux":
        # All ranks are on this machine: they talk over loopback, whatever the host's name resolves to.
        for backend in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{backend}_SOCKET_IFNAME", "lo")

    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    arguments = ["--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={job.training.processes}"]
    arguments.append("--signals-to-handle=SIGINT,SIGHUP,SIGQUIT")  # SIGTERM is `PassedOnStop`'s
    arguments.append(f"--log-dir={os.devnull}")  # the default leaves an empty temporary directory behind
    rank = ["--module", "figa_core.training", "--job", str(path), "--checkpoints-verified"]
    try:
        run.main([*arguments, *rank])
    except ChildFailedError as error:
        sys.exit(f"training ended early: {len(error.failures)} rank(s) failed")


if __name__ == "__main__":
    main()
