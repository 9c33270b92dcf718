"""How a rank's last words reach the one who started the training: a small JSON file per rank.

torchrun reports only that some rank ended, in forty lines of its own; the files say which error it was.
"""

import json
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Failure:
    """One rank's error; `secondary` means that it only followed from another rank's."""

    rank: int
    kind: str
    message: str
    trace: str
    secondary: bool


def record_failure(output: Path, rank: int, error: BaseException, *, secondary: bool) -> None:
    """Write the error beside the training's other files."""
    failure = Failure(
        rank=rank,
        kind=type(error).__name__,
        message=str(error),
        trace="".join(traceback.format_exception(error)[-3:]),
        secondary=secondary,
    )
    output.mkdir(parents=True, exist_ok=True)
    (output / f"failure-rank{rank}.json").write_text(json.dumps(asdict(failure)), encoding="utf-8")


def clear_failures(output: Path) -> None:
    """Forget those of an earlier attempt."""
    for path in output.glob("failure-rank*.json"):
        path.unlink()


def root_failure(output: Path) -> Failure | None:
    """The error that the others followed from, where a rank could still write one."""
    failures: list[Failure] = []
    for path in sorted(output.glob("failure-rank*.json")):
        try:
            failures.append(Failure(**json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError):
            continue  # the rank was killed while writing
    return min(failures, key=lambda failure: (failure.secondary, failure.rank), default=None)
