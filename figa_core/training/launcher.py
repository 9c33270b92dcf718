"""Starts the ranks of one machine with torchrun: ``python -m figa_core.training.launcher --job job.json``.

If others train with it, it gets the node's number and the place where they meet. It is a process between the
run and its ranks, so that the ranks die with it, and it dies with the run.
"""

import argparse
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from figa_core.errors import TrainingError
from figa_core.processes.children import PARENT_PID_VARIABLE, die_with_parent
from figa_core.processes.tell import tell, tell_troubles
from figa_core.training.failures import record_failure
from figa_core.training.job import TrainingJob
from figa_core.training.nodes.roll_call import node_name
from figa_core.training.nodes.torchrun import meeting_of
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
    parser.add_argument("--node", type=int, default=0, help="Number of this node; the first is 0.")
    parser.add_argument("--meet", help="host:port of node 0, if there are several nodes.")
    parser.add_argument("--attempt", default="none", help="What tells this start of the ranks from others.")
    options = parser.parse_args()
    path: Path = options.job
    job = TrainingJob.from_json(path.read_text(encoding="utf-8"), source=str(path))
    PassedOnStop(job.output)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // job.training.processes)))
    try:
        meeting = meeting_of(job.training, options.node, options.meet, options.attempt)
    except TrainingError as error:
        sys.exit(_ends(job, options.node, error))
    if job.training.nodes == 1:
        _use_loopback()
    arguments = [*meeting.torchrun, f"--nproc-per-node={job.training.processes}"]
    arguments.append("--signals-to-handle=SIGINT,SIGHUP,SIGQUIT")  # SIGTERM is `PassedOnStop`'s
    arguments.append(f"--log-dir={os.devnull}")  # the default leaves an empty temporary directory behind
    rank = ["--module", "figa_core.training", "--job", str(path), "--checkpoints-verified"]

    from torch.distributed import DistError, run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.main([*arguments, *rank])
    except ChildFailedError as error:
        sys.exit(f"training ended early: {len(error.failures)} rank(s) failed")
    except DistError as error:
        sys.exit(_ends(job, options.node, meeting.missed(error)))


def _use_loopback() -> None:
    """The ranks of one machine talk over loopback, whatever the host's name resolves to."""
    if sys.platform == "linux":
        for backend in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{backend}_SOCKET_IFNAME", "lo")


def _ends(job: TrainingJob, node: int, error: TrainingError) -> str:
    """The text to exit with, after noting the error for the run that waits."""
    where = node_name(node, socket.gethostname()) if job.training.nodes > 1 else ""
    record_failure(job.output, node * job.training.processes, error, secondary=node == 0, where=where)
    tell(f"TrainingError: {error}", logging.ERROR)
    return "training did not begin"


if __name__ == "__main__":
    main()
