"""One contender in its own process: ``python -m tests.benchmarks.contender MODULE SPEC.json OUTCOME.json``.

The module has a function `run`, which takes the module's `Spec` and returns an outcome.
"""

import sys
from importlib import import_module
from pathlib import Path


def main() -> None:
    """Run the module and write the outcome."""
    module = import_module(f"tests.benchmarks.{sys.argv[1]}")
    module.run(module.Spec.load(Path(sys.argv[2]))).save(Path(sys.argv[3]))


if __name__ == "__main__":
    main()
