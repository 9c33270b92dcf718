"""Writes a domain's prompts.

    python -m figa_core.domains.build structured --root DIR --count 400 --seed 0

`DIR/prompts.jsonl` gets a row a line: id, prompt, reference, type. The same arguments write the same bytes.
"""

import argparse
import json
import sys
from pathlib import Path

from figa_core.domains.base import NAMES, Domain, load_domain
from figa_core.errors import ConfigError, FigaError, WorkspaceError
from figa_core.files import replacing

PROMPTS = "prompts.jsonl"


def write_prompts(domain: Domain, root: Path, *, count: int, seed: int) -> Path:
    """Write `count` rows of the domain into `root`; return the file.

    Raises:
        ConfigError: the domain does not have so many rows.
        WorkspaceError: `root` cannot be written.
    """
    path = root / PROMPTS
    try:
        root.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            for row in domain.rows(count, seed):
                file.write(f"{json.dumps(row, ensure_ascii=False)}\n".encode())
    except ValueError as error:
        raise ConfigError(
            f"the domain {domain.name!r} has no {count} rows: {error}. Lower --count."
        ) from error
    except OSError as error:
        raise WorkspaceError(f"{path}: cannot write: {error.strerror}. Give a writable directory.") from error
    return path


def main() -> None:
    parser = argparse.ArgumentParser(prog="figa_core.domains.build", description="Write a domain's prompts.")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--root", type=Path, required=True, help="directory for prompts.jsonl")
    parser.add_argument("--count", type=int, required=True, help="how many prompts")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        domain = load_domain(options.name)
        print(write_prompts(domain, options.root, count=options.count, seed=options.seed))
    except FigaError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
