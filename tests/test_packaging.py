"""What is shipped around the code: locks, compose file, image, and that no registry is named anywhere."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from config.load import load

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMPOSE = ROOT / "docker-compose.yml"
LOCKS = {
    "requirements.lock": [*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["build"]],
    "requirements-dev.lock": [
        *PYPROJECT["project"]["dependencies"],
        *(each for group in PYPROJECT["dependency-groups"].values() for each in group),
    ],
}
# In pieces, or this file would name them.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("repo", "maven", "apache"),
        ("repo1", "maven"),
        ("registry", "npmjs"),
        ("crates", "io"),
        ("proxy", "golang"),
        ("deb", "debian"),
        ("docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
    )
]


def locked(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, flags=re.MULTILINE))


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_of_a_lock_is_a_version_with_hashes(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    requirements = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert requirements
    for line in requirements:
        assert re.fullmatch(r"[a-z0-9._-]+==\S+( ; [^@]+?)?( +--hash=sha256:[0-9a-f]{64})+ *", line), line


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_what_the_project_asks_for(name: str) -> None:
    versions = locked(name)
    for requirement in map(Requirement, LOCKS[name]):
        version = versions.get(requirement.name)
        assert version is not None, f"{requirement} is not locked: make lock"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: make lock"


def test_the_two_locks_agree() -> None:
    runtime, dev = locked("requirements.lock"), locked("requirements-dev.lock")
    assert runtime.items() <= dev.items()


def texts() -> Iterator[tuple[Path, str]]:
    generated = {".venv", ".git", ".cache", "__pycache__", "dist", "build"}
    for file in ROOT.rglob("*"):
        parts = file.relative_to(ROOT).parts
        if (
            file.is_file()
            and not generated & set(parts)
            and not parts[0].endswith(("_cache", ".redemptions"))
        ):
            yield file, file.read_bytes().decode("utf-8", errors="replace")


def test_no_registry_is_named_anywhere() -> None:
    named = [str(file) for file, text in texts() if any(host in text for host in REGISTRIES)]
    assert named == []


def schema_check(file: Path) -> int:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_the_compose_file_follows_the_compose_specification(tmp_path: Path) -> None:
    assert schema_check(COMPOSE) == 0
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(COMPOSE.read_text(encoding="utf-8").replace("healthcheck:", "healthchek:"))
    assert schema_check(broken) != 0


@pytest.fixture
def services() -> dict[str, Any]:
    content = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return dict(content["services"])


def test_the_compose_file_gives_settings_that_exist(services: dict[str, Any]) -> None:
    for service in services.values():
        env = {name: str(value) for name, value in service["environment"].items()}
        filled = {name: re.sub(r"\$\{[^}]*\}", "filled-in", value) for name, value in env.items()}
        load(filled)


def test_the_compose_file_bakes_in_no_secret(services: dict[str, Any]) -> None:
    for service in services.values():
        for name, value in service["environment"].items():
            if re.search("PASSWORD|SECRET|TOKEN|URL", name):
                assert re.search(r"\$\{\w+:\?[^}]+\}", value), f"{name} must come from .env, and must be set"
    for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines():
        assert line.startswith("#") or line.endswith("=")


def test_the_workers_start_after_everything_they_need(services: dict[str, Any]) -> None:
    assert services["worker"]["deploy"]["replicas"] == 2
    for service in services.values():
        for name, needs in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if name == "setup" else "service_healthy"
            assert needs["condition"] == wanted
            assert name == "setup" or "healthcheck" in services[name]


def test_the_image_runs_as_a_number_that_is_not_root() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert "USER 10001:10001" in lines
    assert 'ENTRYPOINT ["redemptions"]' in lines
    settings = re.findall(r"(REDEMPTIONS_\w+)=(\S+)", "\n".join(lines))
    assert load(dict(settings)).admin_port == 8081


def test_the_image_is_built_from_every_package_that_is_shipped() -> None:
    packages = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{package}" for package in packages} <= set(let_in)


def test_nothing_of_the_image_is_root_or_comes_from_elsewhere() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    last_stage = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM")) :]
    assert [line for line in last_stage if line.startswith("USER")] == ["USER 10001:10001"]
    # What is copied in belongs to root: the code is not for the process to change.
    assert not any(line.startswith(("ADD", "RUN curl", "RUN wget")) or "--chown" in line for line in lines)
    assert any("PYTHONDONTWRITEBYTECODE=1" in line for line in last_stage), "the root is read-only"
    assert [line.split()[1] for line in last_stage if line.startswith("VOLUME")] == ["/var/lib/redemptions"]


def test_our_services_run_on_a_read_only_root_without_capabilities(services: dict[str, Any]) -> None:
    ours = [each for each in services.values() if each.get("build") == "."]
    assert len(ours) == 3
    for service in ours:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["tmpfs"] == ["/tmp"]
        assert not any("docker.sock" in volume for volume in service.get("volumes", []))


def test_the_bill_of_materials_holds_what_the_lock_holds_each_with_its_hashes(tmp_path: Path) -> None:
    bill = tmp_path / "sbom.json"
    made = subprocess.run(
        ["make", "-s", "sbom", f"SBOM={bill}", "--old-file=.venv/.dev-installed"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    content = json.loads(bill.read_text(encoding="utf-8"))
    assert content["bomFormat"] == "CycloneDX"
    assert content["metadata"]["component"]["name"] == "redemptions"
    assert {each["name"]: each["version"] for each in content["components"]} == locked("requirements.lock")
    for each in content["components"]:
        assert any(hash["alg"] == "SHA-256" for hash in each["externalReferences"][0]["hashes"]), each["name"]
