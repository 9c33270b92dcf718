import json
import subprocess
import sys

import pytest

from figa_core.domains.base import load_domain
from figa_core.domains.build import write_prompts
from figa_core.errors import ConfigError, WorkspaceError
from figa_core.evaluation.verifier import judge, load_verifier
from figa_core.prompts.read import RowFormat, read_prompts
from figa_core.records import Prompt

FORMAT = RowFormat("prompt", "reference", None, 0.5)


@pytest.mark.parametrize("name", ["support", "structured", "arithmetic"])
def test_the_prompts_file_is_read_by_the_import_and_its_references_satisfy_the_verifier(name, tmp_path):
    path = write_prompts(load_domain(name), tmp_path, count=30, seed=1)
    verify = load_verifier(f"figa_core.domains.{name}:verify")
    prompts = [prompt for _, prompt in read_prompts(path, FORMAT)]
    assert len(prompts) == 30
    for prompt in prompts:
        assert isinstance(prompt, Prompt)
        assert prompt.reference is not None
        assert judge(verify, prompt.messages, prompt.reference) == pytest.approx(1)
    assert {"id", "prompt", "reference", "type"} == set(json.loads(path.read_text().splitlines()[0]))


def test_equal_arguments_write_equal_bytes(tmp_path):
    domain = load_domain("structured")
    first, second = (write_prompts(domain, tmp_path / name, count=20, seed=4) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_more_rows_than_there_are_and_a_file_in_the_way_are_errors(tmp_path):
    with pytest.raises(ConfigError, match="900000 different tasks"):
        write_prompts(load_domain("structured"), tmp_path, count=10**6, seed=0)
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match="cannot write"):
        write_prompts(load_domain("structured"), tmp_path / "file", count=1, seed=0)


def test_the_command_writes_the_file_and_says_where(tmp_path):
    command = [sys.executable, "-m", "figa_core.domains.build", "arithmetic", "--root", str(tmp_path)]
    done = subprocess.run([*command, "--count", "3"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "prompts.jsonl")
    assert len((tmp_path / "prompts.jsonl").read_text().splitlines()) == 3
