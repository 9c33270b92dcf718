"""Mutation testing: small errors in `figa_core` that no test notices (make mutants).

mutmut changes one expression at a time and runs the tests that reach it. Each package is tested separately,
in a copy of the tracked files, with the tests that mirror it and that need no ranks, no vLLM and no browser:

    python tests/mutants.py weighting revision         # some packages; "core" are the top-level modules

It prints the share of mutants that a test killed, and writes every survivor as a diff to
build/mutants/PACKAGE.txt and the figures to build/mutants/summary.json. Survivors that change only the
spelling of a text (capitals, or XX around it) are counted separately: most are messages, whose wording may
change.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "build" / "mutants"
CORE = "core"
PACKAGES = (
    "chat", "prompts", "processes", "config", "weighting", "training", "llm", "revision",
    "shards", "storage", "evaluation", "inference", "models", "report", "sandbox", CORE,
)  # fmt: skip
_DIGITS = "3718529406"  # in this order, so that a sample of mutants has all kinds of expressions
_KILLED = ("killed", "timeout", "segfault", "suspicious")
_WITHOUT = "not slow and not distributed and not vllm and not e2e"
# The first has a child that drops root's rights, so that mutmut's trampolines cannot write their files. The
# second sends a signal to its own process, which is mutmut's. The others take many seconds per mutant.
_LEFT_OUT = (
    "storage/test_unusable_files.py::test_a_workspace_that_may_not_be_written_is_named",
    "storage/test_interrupted_statements.py::test_a_signal_within_a_transaction_waits_until_it_is_committed",
    "llm/test_refused_runs.py::test_flagged_prompts_settle_their_rows_and_the_run_goes_on",
    "llm/test_faults.py::test_every_row_ends_for_its_true_reason_and_calls_and_costs_agree_with_the_servers_log",
    "llm/test_kill.py::test_after_kill_9_only_the_calls_in_flight_are_repeated",
)
_PRELOADED = (
    "pytest", "hypothesis", "duckdb", "pyarrow.parquet", "pydantic", "prefect", "torch", "transformers",
)  # fmt: skip
# Tests that start child processes: mutmut does not see which mutants they reach.
_IN_CHILDREN = {"processes": _WITHOUT}
_IN_RANKS = "distributed and not slow"
_HANGS_S = 900.0
_ALIVE = (0, 33)  # exit codes: the tests pass; no test reaches the mutant
_NOT_RUN = 255  # pytest ended before the first test; mutmut counts these as timeouts
_NO_TESTS = int(pytest.ExitCode.NO_TESTS_COLLECTED)
# A fork server, because mutants must not find caches filled by the unchanged code. It imports libraries only:
# when pytest collects tests a second time, it renames parameters with escapes in their names.
_SETTINGS = """
[tool.mutmut]
source_paths = ["figa_core"]
only_mutate = {mutated}
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = [
  "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning",
  "-m", "{without}", {left_out}
]
process_isolation = "forkserver"
timeout_multiplier = 4.0
timeout_constant = 5.0
forkserver_warmup = "import"
preload_modules_file = "preloaded.txt"
also_copy = ["tests", "tasks", "flows", "deployments", "docker", "README.md"]
"""


@dataclass(frozen=True, slots=True)
class Share:
    """The results of a package's mutants.

    Attributes:
        spelled: survivors that change only the spelling of a text.
        untested: no test reaches them; they count as survivors.
        left_to_ranks: outside the sample for the tests that start ranks; they do not count.
    """

    killed: int
    survived: int
    spelled: int
    untested: int
    left_to_ranks: int = 0

    @property
    def killed_share(self) -> float:
        """Of all but the `spelled`."""
        return self.killed / max(1, self.killed + self.survived + self.untested)


def run_package(package: str, *, processes: int, tenths: int = 10, in_ranks: int | None = None) -> Share:
    """Mutate one package; raises SystemExit if mutmut itself fails, for example because of a failing test.

    The mutants are numbered per function; `tenths` of ten are tried, chosen by the last digit. For `in_ranks`
    see `try_in_children`.
    """
    copy = OUTPUT / package
    _copy_tracked_files(copy)
    # It is on the path, and a folder that is missing when Python starts is ignored from then on.
    (copy / "mutants").mkdir()
    # mutmut's * matches slashes, too.
    top = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("figa_core/*.py"))
    mutated = top if package == CORE else [f"figa_core/{package}/*"]
    tests = (
        sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/figa_core/test_*.py"))
        if package == CORE
        else [f"tests/figa_core/{package}"]
    )
    with (copy / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(
            _SETTINGS.format(
                mutated=json.dumps(mutated),
                tests=json.dumps(tests),
                without=_WITHOUT,
                left_out=", ".join(f'"--deselect", "tests/figa_core/{test}"' for test in _LEFT_OUT),
            )
        )
    (copy / "preloaded.txt").write_text("\n".join(_PRELOADED), encoding="utf-8")
    log = OUTPUT / f"{package}.log"
    with log.open("wb") as file:
        code = subprocess.run(
            _mutmut("run", "--max-children", str(processes), *(f"*__mutmut_*{d}" for d in _DIGITS[:tenths])),
            cwd=copy,
            env=_environment(copy),
            stdout=file,
            stderr=file,
        ).returncode
    if code != 0:
        tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise SystemExit(f"{package}: mutmut ended with code {code}; its log is {log}:\n{tail}")
    not_run = [name for codes in _metas(copy).values() for name, code in codes.items() if code == _NOT_RUN]
    _try_again(copy, tests, not_run, processes)
    left = try_in_children(copy, tests, processes, _IN_CHILDREN.get(package, _IN_RANKS), at_most=in_ranks)
    return _read_results(package, copy, left)


def try_in_children(
    copy: Path, tests: list[str], processes: int, marker: str, *, at_most: int | None = None
) -> frozenset[str]:
    """Try survivors and mutants without a test with the tests that start ranks or other child processes.

    mutmut does not see into child processes. Each mutant takes up to a minute. With `at_most`, only so many
    are tried, spread evenly; the others are returned. Modules that are not imported under their own name
    (`__main__`) are not tried. Raises SystemExit if these tests fail without a mutant.
    """
    alive = [name for codes in _metas(copy).values() for name, code in codes.items() if code in _ALIVE]
    reached = [name for name in alive if ".__main__." not in name]
    code = _run_alone(copy, tests, "", marker) if reached else _NO_TESTS
    if code == _NO_TESTS:
        return frozenset()
    if code != 0:
        raise SystemExit(f"{tests}: the tests that start children fail without any mutant")
    tried = reached[:: max(1, -(-len(reached) // at_most))] if at_most else reached
    _try_again(copy, tests, tried, processes, marker)
    return frozenset(reached) - set(tried)


def _try_again(
    copy: Path, tests: list[str], names: list[str], processes: int, marker: str = _WITHOUT
) -> None:
    """Run `tests` for each of these mutants in a separate process, and store the exit codes."""
    with ThreadPoolExecutor(processes) as pool:
        codes = pool.map(lambda name: _run_alone(copy, tests, name, marker), names)
        found = dict(zip(names, codes, strict=True))
    for path in _metas(copy):
        meta = json.loads(path.read_text(encoding="utf-8"))
        meta["exit_code_by_key"] |= {name: found[name] for name in meta["exit_code_by_key"] if name in found}
        path.write_text(json.dumps(meta), encoding="utf-8")


def _run_alone(copy: Path, tests: list[str], mutant: str, marker: str) -> int:
    """The exit code of pytest; 1 for tests that hang."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", marker, *tests]
    command += [f"--deselect=tests/figa_core/{test}" for test in _LEFT_OUT]
    environment = {**_environment(copy), "MUTANT_UNDER_TEST": mutant}
    nowhere = subprocess.DEVNULL
    try:
        code = subprocess.run(
            command, cwd=copy / "mutants", env=environment, stdout=nowhere, stderr=nowhere, timeout=_HANGS_S
        ).returncode
    except subprocess.TimeoutExpired:  # its children end with it
        return int(pytest.ExitCode.TESTS_FAILED)
    if code == pytest.ExitCode.USAGE_ERROR:
        raise SystemExit(f"pytest does not start: {' '.join(command)}")
    return code


def _metas(copy: Path) -> dict[Path, dict[str, int | None]]:
    """mutmut's results: by file, the exit code of each mutant; None if it was not tried."""
    return {
        path: json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        for path in sorted((copy / "mutants").rglob("*.meta"))
    }


def _copy_tracked_files(copy: Path) -> None:
    shutil.rmtree(copy, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)


def _read_results(package: str, copy: Path, left_to_ranks: frozenset[str]) -> Share:
    lines = _ask(copy, "results", "--all", "true").splitlines()
    stated = (line.strip().rpartition(": ") for line in lines if ": " in line)
    found = [(name, status) for name, _, status in stated if name not in left_to_ranks]
    count = Counter(status for _, status in found)
    spelled = 0
    with (OUTPUT / f"{package}.txt").open("w", encoding="utf-8") as file:
        for name, status in found:
            if status == "no tests":
                file.write(f"# no test reaches {name}\n")
            elif status == "survived":
                diff = _ask(copy, "show", name)
                if _changes_spelling_only(diff):
                    spelled += 1
                else:
                    file.write(diff + "\n")
    killed = sum(count[status] for status in _KILLED)
    return Share(killed, count["survived"] - spelled, spelled, count["no tests"], len(left_to_ranks))


def _changes_spelling_only(diff: str) -> bool:
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    old, new = (
        "".join(line[1:] for line in lines if line.startswith(sign)).replace("XX", "").casefold()
        for sign in "-+"
    )
    return old == new


def _ask(copy: Path, *arguments: str) -> str:
    return subprocess.run(
        _mutmut(*arguments), cwd=copy, env=_environment(copy), stdout=subprocess.PIPE, check=True, text=True
    ).stdout


def _mutmut(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mutmut", *arguments]


def _environment(copy: Path) -> dict[str, str]:
    # Child processes of tests must import the mutants too, not the installed package. Without bytecode every
    # mutant would compile all modules.
    path = os.pathsep.join(filter(None, (str(copy / "mutants"), str(copy), os.environ.get("PYTHONPATH"))))
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # The first run, without mutants, builds the tests' sandbox for all others.
    shared = {} if copy.name == "sandbox" else {"FIGA_TEST_SANDBOX": str(copy / "sandbox")}
    return {**kept, **shared, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def main() -> None:
    """Run the packages on the command line, or all."""
    parser = argparse.ArgumentParser(prog="mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(PACKAGES)}")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--tenths", type=int, default=10, help="of the mutants; fewer for a sample of a large package"
    )
    parser.add_argument(
        "--in-ranks", type=int, metavar="N", help="try at most N with the tests that start ranks"
    )
    options = parser.parse_args()
    if unknown := set(options.packages) - set(PACKAGES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(PACKAGES)}")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    summary = OUTPUT / "summary.json"
    figures = json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else {}
    for package in options.packages or PACKAGES:
        share = run_package(
            package, processes=options.processes, tenths=options.tenths, in_ranks=options.in_ranks
        )
        total = share.killed + share.survived + share.untested
        print(
            f"{package:<12}{share.killed_share:7.1%} of {total:,} killed; {share.survived:,} survived, "
            f"{share.untested:,} reached by no test; {share.spelled:,} others differ in spelling only, "
            f"{share.left_to_ranks:,} were left to tests in ranks",
            flush=True,
        )
        figures[package] = asdict(share)
        summary.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
