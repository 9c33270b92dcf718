"""Real config files: encodings, impossible paths, and all problems in one message."""

import os
from pathlib import Path
from typing import Any

import pytest

from figa_core.config import TrainingConfig
from figa_core.config.file import anchor_paths, load_config, path_fields, read_settings
from figa_core.errors import ConfigError

from .test_sections import MINIMAL, load


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value)


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_config(path) == load(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_another_unicode_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    message = refused(tmp_path / "run.toml", MINIMAL.strip().encode(encoding))
    assert "not valid TOML: it is encoded as UTF-16 or UTF-32. Save it as UTF-8." in message


def test_the_line_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    message = refused(tmp_path / "run.toml", b'[workspace]\npath = "w"\nname = "caf\xe9"\n')
    assert "line 3 is not UTF-8" in message


def test_toml_that_python_cannot_parse_is_refused(tmp_path: Path) -> None:
    assert "not valid TOML" in refused(tmp_path / "run.toml", b"a = " + b"9" * 5000)
    assert "not valid TOML" in refused(tmp_path / "run.toml", b"a = " + b"[" * 50_000)
    assert "cannot read the config" in refused(tmp_path / "run.toml", b"#" * 10_000_001)
    assert "nested too deeply" in refused(tmp_path / "run.toml", b".".join([b"a"] * 5000) + b" = 1")


def test_directories_and_impossible_names_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / ("a" * 300), Path("a\0b.toml")):
        with pytest.raises(ConfigError, match="cannot read the config"):
            load_config(path)


def in_tables(section: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Settings of a section, which may be a table within another: "evaluation.harness"."""
    outer, _, inner = section.partition(".")
    return {outer: in_tables(inner, fields) if inner else fields}


def test_a_path_in_a_table_is_relative_to_the_file_and_the_table_is_else_as_it_was(tmp_path: Path) -> None:
    config = load(tmp_path, overrides={"evaluation": {"harness": {"include_path": "own", "limit": 3}}})
    assert config.evaluation.harness.include_path == tmp_path / "own"
    assert config.evaluation.harness.limit == 3
    assert config.evaluation.judge.model_fields_set == set()
    assert load(tmp_path).evaluation.harness.model_fields_set == set()


def test_every_path_of_the_settings_is_known() -> None:
    assert ("evaluation.harness", "include_path") in path_fields()
    assert ("prompts", "path") in path_fields()
    assert ("revision_prompt", "with_reference") in path_fields()
    assert len(path_fields()) >= 6


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~no-such-user-at-all/p.jsonl", "no home directory is known for '~no-such-user-at-all'"),
        ("a" * 300, "File name too long"),
        ("b/" * 3000, "File name too long"),
        ("loop", "its symbolic links lead in a circle"),
        ("loop/p.jsonl", "its symbolic links lead in a circle"),
    ],
)
@pytest.mark.parametrize(("section", "field"), path_fields())
def test_an_impossible_path_is_refused_with_its_setting(
    tmp_path: Path, section: str, field: str, path: str, message: str
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "pool")
    (tmp_path / "pool").symlink_to(tmp_path / "loop")
    with pytest.raises(ConfigError, match=rf"{section}\.{field}: .*{message}"):
        load(tmp_path, overrides=in_tables(section, {field: path}))


def test_the_message_about_a_path_repeats_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\(got 'a{20,100} … a+'"):
        load(tmp_path, overrides={"workspace": {"path": "a" * 300}})


@pytest.mark.parametrize("path", ["$HOME/p.jsonl", "${FIGA_RUNS}/p", "%USERPROFILE%/p"])
@pytest.mark.parametrize(("section", "field"), path_fields())
def test_a_variable_in_a_path_is_refused(tmp_path: Path, section: str, field: str, path: str) -> None:
    with pytest.raises(ConfigError, match=rf"{section}\.{field}: .*is not expanded here"):
        load(tmp_path, overrides=in_tables(section, {field: path}))


@pytest.mark.parametrize("path", [" ws", "ws ", "ws\n", "w\u200bs", "a/ws\t"])
def test_a_path_with_white_space_around_it_is_refused_unless_it_exists(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError, match=r"workspace\.path: begins or ends with white space"):
        load(tmp_path, overrides={"workspace": {"path": path}})
    (tmp_path / path).mkdir(parents=True)
    assert load(tmp_path, overrides={"workspace": {"path": path}}).workspace.path == tmp_path / path


def test_an_existing_path_may_contain_a_dollar(tmp_path: Path) -> None:
    (tmp_path / "$HOME").mkdir()
    found = load(tmp_path, overrides={"workspace": {"path": "$HOME"}})
    assert found.workspace.path == tmp_path / "$HOME"


def test_paths_from_a_form_get_the_same_message(tmp_path: Path) -> None:
    config = load(tmp_path)
    prompts = config.prompts.model_copy(update={"path": Path("~no-such-user-at-all/p")})
    with pytest.raises(ConfigError, match=r"prompts\.path: no home directory is known"):
        anchor_paths(config.model_copy(update={"prompts": prompts}), tmp_path)


def test_a_path_below_a_file_is_left_to_its_reader(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert load(tmp_path, overrides={"prompts": {"path": "file/p"}}).prompts.path == tmp_path / "file" / "p"


def test_wrong_paths_and_wrong_settings_are_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(
            tmp_path,
            MINIMAL.replace("[reward]", "[evaluation]").replace('"/models/reward"', "1"),
            overrides={
                "workspace": {"path": "a" * 300},
                "prompts": {"path": "a\0b"},
                "training": {"epochs": 0, "sed": 1},
                "revision": {"api_key_env": "sk-secret-value"},
            },
        )
    message = str(caught.value)
    assert "7 setting(s) to fix" in message
    for part in (
        "workspace.path: the path cannot be used",
        "prompts.path: the text holds a NUL character",
        "training.epochs: ",
        "training.sed: unknown setting; did you mean 'seed'?",
        "evaluation.model: unknown setting",
        "reward: missing",
        "revision.api_key_env: this seems to be a key",
    ):
        assert part in message, part
    assert "sk-secret-value" not in message


def test_a_message_does_not_grow_with_the_input(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, overrides={"filter": {"reward_gap_above": "x" * 100_000}})
    assert len(str(caught.value)) < 1000
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, overrides={"loss": {f"setting{i}": i for i in range(500)}})
    assert len(str(caught.value)) < 3000 + 30 * len(os.fspath(tmp_path))


def test_a_setting_that_is_given_twice_is_not_valid_toml(tmp_path: Path) -> None:
    assert "not valid TOML" in refused(tmp_path / "run.toml", b"[loss]\nbeta = 1\nbeta = 2\n")


def test_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.toml").symlink_to(os.devnull)
    with pytest.raises(ConfigError, match=r"run\.toml: cannot read the config: it is a device, not a reg"):
        load_config(tmp_path / "run.toml")


def test_a_wrong_setting_leaves_the_others_of_its_section_to_the_checks(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(MINIMAL, encoding="utf-8")
    overrides = {"training": {"epochs": 0, "seed": 7}, "spending": {"prices": {"gpt-4": {"1": 2}}}, "odd": {}}
    read = read_settings(path, overrides)
    assert read.config is not None
    assert (read.config.training.epochs, read.config.training.seed) == (TrainingConfig().epochs, 7)


def test_a_price_by_a_name_with_a_dot_in_it_is_explained(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"""a model's name with a dot in it is quoted: \[spending\.prices\."""
    ):
        load(tmp_path, overrides={"spending": {"prices": {"gpt-4": {"1": {"input": 1.0, "output": 2.0}}}}})
