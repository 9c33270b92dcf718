"""Every preset is a valid config; what the README shows and links to exists."""

import re
from pathlib import Path

import pytest

from figa_core.config.file import load_config
from flows.demo import PRESET

ROOT = Path(__file__).parents[2]
PRESETS = sorted((ROOT / "deployments" / "presets").glob("*.toml"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_is_a_valid_config(path: Path) -> None:
    assert load_config(path).workspace.name == path.stem or path.stem == "openai"


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_what_a_preset_generates_fits_the_reward_model_and_the_training(path: Path) -> None:
    config = load_config(path)
    longest = config.prompts.max_prompt_tokens + config.generation.max_tokens
    assert longest <= config.reward.max_length
    assert longest <= config.weighting.max_length
    assert config.weighting.max_length <= config.training.tokens_per_batch


def test_in_real_work_the_longest_revision_of_the_longest_prompt_is_trained_on_whole() -> None:
    config = load_config(ROOT / "deployments" / "presets" / "openai.toml")
    assert config.prompts.max_prompt_tokens + config.revision.max_tokens <= config.weighting.max_length


def test_the_demo_runs_a_preset() -> None:
    assert PRESET in PRESETS


def test_the_readme_names_only_targets_commands_and_files_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z0-9-]+)", readme)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for linked in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / linked).exists(), linked
    for named in re.findall(r"`((?:figa_core|tasks|flows|deployments|docker|tests)/[\w./-]*)`", readme):
        assert (ROOT / named).exists(), named


def test_every_figa_command_in_the_readme_parses() -> None:
    from typer.testing import CliRunner

    from flows.cli import app

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"figa (demo|run|status|report)\b([^\n`]*)", readme))
    assert {name for name, _ in commands} == {"demo", "run", "status", "report"}
    for name, arguments in commands:
        options = set(re.findall(r"--[a-z]+", arguments))
        help_text = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).stdout
        assert all(option in help_text for option in options), (name, options)
