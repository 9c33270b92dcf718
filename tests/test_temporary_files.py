"""Temporary files of tests and of the processes that they start are removed at the end of the session."""

import subprocess
import sys
import tempfile
from pathlib import Path


def test_this_process_and_its_children_use_the_directory_of_the_session(tmp_path: Path) -> None:
    program = "import tempfile; print(tempfile.gettempdir())"
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == tempfile.gettempdir()
    session = Path(tempfile.gettempdir())
    assert session.name.startswith("figa-tests-")
    assert not tmp_path.is_relative_to(session), "pytest keeps its own directory, to look at after a failure"
