"""One contender in a process of its own: ``python -m tests.benchmarks.revision_contender SPEC OUTCOME``."""

import sys
from pathlib import Path

from tests.benchmarks.revision_spec import Spec


def main() -> None:
    """Run what the spec says and write the outcome."""
    spec = Spec.load(Path(sys.argv[1]))
    if spec.kind == "ours":
        from tests.benchmarks.revision_ours import run
    elif spec.kind == "curator":
        from tests.benchmarks.revision_curator import run
    elif spec.kind == "distilabel":
        from tests.benchmarks.revision_distilabel import run
    else:
        from tests.benchmarks.revision_bare import run
    run(spec).save(Path(sys.argv[2]))


if __name__ == "__main__":
    main()
