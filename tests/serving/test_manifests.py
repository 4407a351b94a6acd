"""The manifests of deploy/: what they say of the server is what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from server.settings import Settings, load_settings
from smc_decode.serving.arguments import Arguments

DEPLOY = Path(__file__).parents[2] / "deploy"


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of the server.toml that both manifests mount."""
    (table,) = (each for each in documents("kubernetes.yaml") if each["kind"] == "ConfigMap")
    file = tmp_path / "server.toml"
    file.write_text(table["data"]["server.toml"])
    return load_settings(file)


def test_a_pod_has_more_time_than_the_server_drains(settings: Settings) -> None:
    (deployment,) = (each for each in documents("kubernetes.yaml") if each["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > settings.server.drain_timeout_s


def test_a_pod_of_ray_has_more_time_than_serve_gives_a_replica(settings: Settings) -> None:
    (service,) = documents("kuberay.yaml")
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    grace = group["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace >= settings.server.request_timeout_s + settings.server.drain_timeout_s + 60


def test_ray_is_told_of_a_builder_that_is_there_and_of_arguments_that_it_takes() -> None:
    (service,) = documents("kuberay.yaml")
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    module, name = application["import_path"].split(":")
    source = DEPLOY.parent / (module.replace(".", "/") + ".py")
    assert f"\ndef {name}(args: Arguments)" in source.read_text(encoding="utf-8")
    Arguments.model_validate(application["args"])
