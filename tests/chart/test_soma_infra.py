"""soma-infra installs PostgreSQL safely, and rejects unsafe or unknown values."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.chart.conftest import ROOT, Helm, HelmRefused, Manifest, Render

CHART = ROOT / "helm" / "charts" / "soma-infra"


@pytest.fixture(scope="module")
def manifests(render: Render) -> list[Manifest]:
    return render("soma-infra")


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (match,) = (m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name)
    return match


def postgresql(manifests: list[Manifest]) -> dict[str, Any]:
    spec: dict[str, Any] = named(manifests, "StatefulSet", "postgresql")["spec"]["template"]["spec"]["containers"][0]
    return spec


def test_each_database_role_has_its_own_password(manifests: list[Manifest]) -> None:
    """The three DSNs for a SomaBrain have three roles and passwords, and the server has the same."""
    passwords = named(manifests, "Secret", "postgresql")["stringData"]
    dsns = {
        **named(manifests, "Secret", "somabrain-database")["stringData"],
        **named(manifests, "Secret", "somabrain-migration")["stringData"],
    }
    assert set(dsns) == {"app-dsn", "worker-dsn", "owner-dsn"}
    assert len(set(passwords.values())) == 3
    for role in ("app", "worker", "owner"):
        dsn = urlsplit(dsns[f"{role}-dsn"])
        assert dsn.username == f"somabrain_{role}"
        assert dsn.password == passwords[f"{role}-password"]
        assert (dsn.hostname, dsn.port, dsn.path) == ("postgresql.soma-infra.svc", 5432, "/somabrain")


def test_passwords_differ_between_installations(render: Render) -> None:
    """Two installations share no password, and each password is long."""
    first, second = (named(render("soma-infra"), "Secret", "postgresql")["stringData"] for _ in range(2))
    assert not set(first.values()) & set(second.values())
    assert all(len(password) == 32 for password in first.values())


def test_password_secret_survives_uninstall(manifests: list[Manifest]) -> None:
    """The passwords outlive an uninstall, like the volume."""
    assert named(manifests, "Secret", "postgresql")["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_bootstrap_sql_matches_migrations(manifests: list[Manifest]) -> None:
    """The bootstrap SQL is byte for byte the file that is documented for database administrators."""
    original = (ROOT / "migrations" / "bootstrap.sql").read_text()
    assert (CHART / "files" / "bootstrap.sql").read_text() == original, (
        "run `cp migrations/bootstrap.sql helm/charts/soma-infra/files/`"
    )
    assert named(manifests, "ConfigMap", "postgresql")["data"]["bootstrap.sql"].strip() == original.strip()


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit"])
def test_durability_parameters_cannot_be_disabled(render: Render, name: str) -> None:
    """No value of the chart can switch off the durability of PostgreSQL's writes."""
    with pytest.raises(HelmRefused, match=f"/postgresql/parameters/{name}"):
        render("soma-infra", f"postgresql.parameters.{name}=off")


def test_postgresql_parameters_become_server_arguments(render: Render) -> None:
    """A setting under postgresql.parameters is an argument of the server."""
    assert "-cwork_mem=64MB" in postgresql(render("soma-infra", "postgresql.parameters.work_mem=64MB"))["args"]


def test_image_digest_takes_precedence_over_tag(render: Render) -> None:
    """An image's digest takes precedence over its tag."""
    digest = "sha256:" + "0" * 64
    image = postgresql(render("soma-infra", f"postgresql.image.digest={digest}"))["image"]
    assert image == f"docker.io/pgvector/pgvector@{digest}"


def test_unknown_value_is_rejected(render: Render) -> None:
    """An unknown value is an error that names it."""
    with pytest.raises(HelmRefused, match="enable"):
        render("soma-infra", "postgresql.enable=false")


def test_disabled_postgresql_renders_nothing(render: Render) -> None:
    """With PostgreSQL disabled nothing is installed."""
    assert render("soma-infra", "postgresql.enabled=false") == []


def test_postgresql_data_is_on_persistent_volume(manifests: list[Manifest]) -> None:
    """PostgreSQL's data directory is on a claimed volume."""
    (claim,) = named(manifests, "StatefulSet", "postgresql")["spec"]["volumeClaimTemplates"]
    (mount,) = (m for m in postgresql(manifests)["volumeMounts"] if m["name"] == claim["metadata"]["name"])
    (data,) = (e["value"] for e in postgresql(manifests)["env"] if e["name"] == "PGDATA")
    assert data.startswith(mount["mountPath"] + "/")


def test_pod_template_changes_with_start_script(helm: Helm, tmp_path: Path) -> None:
    """The pod template changes with the scripts that it runs, and with nothing else."""

    def template() -> dict[str, Any]:
        text = helm("template", "release", str(copy), "--namespace", "soma-infra")
        spec: dict[str, Any] = named([m for m in yaml.safe_load_all(text) if m], "StatefulSet", "postgresql")["spec"]
        return dict(spec["template"])

    copy = tmp_path / "soma-infra"
    shutil.copytree(CHART, copy)
    first = template()
    (copy / "Chart.yaml").write_text((copy / "Chart.yaml").read_text().replace("version: 0", "version: 9"))
    assert template() == first
    (copy / "files" / "start.sh").write_text("#!/bin/sh\nexit 1\n")
    assert template() != first
