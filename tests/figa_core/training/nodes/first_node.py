"""Node 0 of a training, in a process of its own: ``first_node.py JOB BOARD LOG``; it prints the error."""

import sys
from pathlib import Path

from figa_core.errors import TrainingError
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.nodes.board import Board, OtherNodes


def main(job_path: str, board: str, log: str) -> int:
    job = TrainingJob.from_json(Path(job_path).read_text(encoding="utf-8"))
    try:
        run_training(job, log_path=Path(log), others=OtherNodes(Board(Path(board))))
    except TrainingError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
