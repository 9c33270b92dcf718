"""One contender in a process of its own: ``python -m tests.benchmarks.contender SPEC.json OUTCOME.json``."""

import sys
from pathlib import Path

from tests.benchmarks.spec import Spec


def main() -> None:
    """Run what the spec says and write the outcome."""
    spec = Spec.load(Path(sys.argv[1]))
    if spec.kind == "ours":
        from tests.benchmarks.ours import run
    elif spec.kind == "reference":
        from tests.benchmarks.reference_run import run
    else:
        from tests.benchmarks.trl_sft import run
    run(spec).save(Path(sys.argv[2]))


if __name__ == "__main__":
    main()
