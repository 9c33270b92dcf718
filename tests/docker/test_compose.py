"""The compose file: its services fit together, nothing is public, and Prefect knows every setting in it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import Settings
from prefect.settings.legacy import _get_settings_fields

from deployments import health

DOCKER = Path(__file__).parents[2] / "docker"
FILE = DOCKER / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OF_REDIS = {"PREFECT_REDIS_MESSAGING_URL", "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL"}
"""Settings of prefect-redis, which only servers on Redis have."""


def environments() -> Iterator[tuple[str, str, str]]:
    for service, fields in SERVICES.items():
        for name, value in fields.get("environment", {}).items():
            yield service, name, str(value)


def test_every_service_depends_on_services_that_it_has_and_that_tell_when_they_are_ready() -> None:
    for service, fields in SERVICES.items():
        for needed, how in fields.get("depends_on", {}).items():
            other = SERVICES[needed]
            if how["condition"] == "service_healthy":
                assert other["healthcheck"]["test"], (service, needed)
            else:  # it runs once and ends
                assert how["condition"] == "service_completed_successfully", (service, needed)
                assert "restart" not in other, (service, needed)
            assert set(other.get("profiles", ())) <= set(fields.get("profiles", ())), (service, needed)


def test_what_goes_on_has_a_check_of_its_own_and_what_ends_has_none() -> None:
    ends = {
        needed
        for fields in SERVICES.values()
        for needed, how in fields.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }
    for service, fields in SERVICES.items():  # without one it would get the image's, which asks for an API
        assert "healthcheck" in fields, service
        check = fields["healthcheck"]
        assert check == {"disable": True} if service in ends else check["test"][0] == "CMD", service


def test_the_checks_of_our_services_are_commands_that_we_have(capsys: pytest.CaptureFixture[str]) -> None:
    ours = {
        service: fields["healthcheck"]["test"][4:]
        for service, fields in SERVICES.items()
        if fields["healthcheck"].get("test", ())[1:4] == ["python", "-m", "deployments.health"]
    }
    assert ours == {
        "server": ["api"],
        "services": ["services"],
        "worker-cpu": ["worker", "cpu"],
        "worker-gpu": ["worker", "gpu"],
    }
    for arguments in ours.values():
        assert health.main(arguments) == 1, "there is none of them here"
    assert "PREFECT_SERVER_DOCKET_URL is not set" in capsys.readouterr().err


def test_networks_and_volumes_are_declared() -> None:
    for service, fields in SERVICES.items():
        assert set(fields["networks"]) <= set(COMPOSE["networks"]), service
        for volume in fields.get("volumes", ()):
            source = volume.split(":")[0]
            assert source.startswith(("${", ".", "/")) or source in COMPOSE["volumes"], (service, volume)


def test_only_the_ui_is_published_on_loopback_and_behind_a_password() -> None:
    published = {name: fields["ports"] for name, fields in SERVICES.items() if "ports" in fields}
    assert published == {"server": ["127.0.0.1:4200:4200"]}
    assert "PREFECT_SERVER_API_AUTH_STRING" in SERVICES["server"]["environment"]
    assert COMPOSE["networks"]["inside"]["internal"] is True
    for name in ("postgres", "redis", "services", "migrate"):
        assert SERVICES[name]["networks"] == ["inside"], name


def test_every_client_of_the_api_has_its_address_and_its_password() -> None:
    for name in ("deploy", "worker-cpu", "worker-gpu"):
        environment = SERVICES[name]["environment"]
        assert environment["PREFECT_API_URL"] == "http://server:4200/api"
        assert (
            environment["PREFECT_API_AUTH_STRING"]
            == SERVICES["server"]["environment"]["PREFECT_SERVER_API_AUTH_STRING"]
        )


def test_the_api_has_several_processes_and_the_background_services_are_apart() -> None:
    command = SERVICES["server"]["command"]
    assert "--no-services" in command
    assert int(command[command.index("--workers") + 1]) > 1
    assert SERVICES["services"]["command"] == ["prefect", "server", "services", "start"]
    assert SERVICES["services"]["environment"] == SERVICES["server"]["environment"]


def test_prefect_knows_every_setting() -> None:
    known = set(_get_settings_fields(Settings)) | OF_REDIS
    given = {name for _, name, _ in environments() if name.startswith("PREFECT_")}
    assert given
    assert given - known == set()


def test_no_password_is_in_the_file_and_one_that_is_missing_ends_the_start() -> None:
    for service, name, value in environments():
        if re.search("PASSWORD|AUTH|CONNECTION_URL", name):
            assert re.search(r"\$\{[A-Z_]+:\?", value), (service, name)
    wanted = set(re.findall(r"\$\{([A-Z_]+):[?]", FILE.read_text()))
    example = dict(
        line.split("=", 1)
        for line in (DOCKER / "compose.env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert wanted <= set(example)
    assert not any(example.values()), "an example with a value is a password that many will keep"


def test_images_are_pinned_and_our_modules_exist() -> None:
    for service, fields in SERVICES.items():
        image = fields["image"]
        if not image.startswith("${FIGA_IMAGE:?"):
            tag = image.rstrip("}").rpartition(":")[2]
            assert re.search(r"\d+\.\d+", tag), (service, image)
        command = fields.get("command", [])
        if command[:2] == ["python", "-m"]:
            assert find_spec(command[2]) is not None, service


def test_a_vllm_server_on_cpus_is_at_the_same_address_and_reserves_no_gpu() -> None:
    gpus, cpus = SERVICES["vllm"], SERVICES["vllm-cpu"]
    assert cpus["command"] == gpus["command"]
    assert cpus["healthcheck"] == gpus["healthcheck"]
    assert cpus["networks"] == {"inside": {"aliases": ["vllm"]}}
    assert gpus["deploy"]["resources"]["reservations"]["devices"]
    assert not cpus["deploy"]
    assert f"figa-vllm:{version('figa')}-cpu" in cpus["image"], "as docker/images.sh names it"


def compose(file: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """`docker compose config`, which needs no engine."""
    found = shutil.which("docker-compose", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("docker-compose is not installed: `make test` installs it")
    command = [found, "--file", str(file), "--profile", "*", "config", "--format", "json"]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **given}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_docker_compose_accepts_the_file_and_every_profile() -> None:
    done = compose(FILE, FIGA_IMAGE="figa:1", POSTGRES_PASSWORD="p", FIGA_AUTH="a:b")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["services"].keys() == SERVICES.keys()


def test_docker_compose_refuses_it_without_a_password_and_with_an_unknown_field(tmp_path: Path) -> None:
    assert "see compose.env.example" in compose(FILE, FIGA_IMAGE="figa:1", FIGA_AUTH="a:b").stderr
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(FILE.read_text().replace("healthcheck:", "healthchecks:", 1))
    assert (
        "healthchecks" in compose(wrong, FIGA_IMAGE="figa:1", POSTGRES_PASSWORD="p", FIGA_AUTH="a:b").stderr
    )
