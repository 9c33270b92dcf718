"""A run that trains with LoRA, and another round that begins with its adapter."""

import pytest

from .conftest import Project

pytestmark = [pytest.mark.distributed, pytest.mark.slow]


def test_an_adapter_is_judged_like_a_model_and_begins_another_round(served_project: Project) -> None:
    served_project.settings["training.lora"] = {"rank": 4}
    first = served_project.run()
    assert first.returncode == 0, first.stdout
    [log] = (served_project.workspace / "logs").glob("train-*.log")
    assert "LoRA: " in log.read_text()
    [adapter] = (served_project.workspace / "trainings").glob("*/model")
    assert (adapter / "adapter_config.json").is_file()
    assert not (adapter / "model.safetensors").exists()
    [merged] = (served_project.workspace / "merged").glob("*/model.safetensors")
    assert {row["label"] for row in served_project.status()["evaluations"]} == {"base", "FIGA"}
    written = merged.stat().st_mtime_ns
    again = served_project.run()
    assert again.returncode == 0, again.stdout
    assert "nothing left to do" in again.stdout
    assert merged.stat().st_mtime_ns == written

    served_project.settings["workspace"]["path"] = str(served_project.directory / "workspace" / "next")
    served_project.settings["generation"]["model"] = str(adapter)
    second = served_project.run()
    assert second.returncode == 0, second.stdout
    [adapter_of_both] = (served_project.workspace / "next" / "trainings").glob("*/model")
    assert "merged" in (adapter_of_both / "adapter_config.json").read_text()

    base = served_project.settings["generation"]["model"]
    (adapter / "base_model.json").write_text('{"fingerprint": "another"}')
    refused = served_project.run()
    assert refused.returncode != 0
    assert "it was trained on another base model than" in refused.stdout, base
