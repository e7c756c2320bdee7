"""Imports point one way: a package knows only those below it."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HARNESS = "handlers.testing"
MAY_IMPORT = {
    "events": set(),
    "config": set(),
    "broker": {"events"},
    "storage": {"events"},
    "ingress": {"events", "broker"},
    "handlers": {"events", "storage"},
    # With it users test their handlers on the worker's own code. The product never imports it.
    "handlers.testing": {"events", "storage", "broker", "handlers.protocol", "handlers.terms", "consumer"},
    # Of the handlers it knows their protocol and terms: which ones there are is no business of the worker.
    "consumer": {"events", "broker", "storage", "handlers.protocol", "handlers.terms"},
    "reconcile": {"events", "broker", "storage", "handlers"},
    "traffic": {"events"},
    "cli": {
        "config",
        "events",
        "broker",
        "storage",
        "ingress",
        "handlers",
        "consumer",
        "reconcile",
        "traffic",
    },
}


def owner(file: Path) -> str:
    return HARNESS if file.is_relative_to(ROOT / "handlers" / "testing") else file.relative_to(ROOT).parts[0]


def imported_modules(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from handlers import protocol` names a module in its second half, `from . import x` none.
            assert node.level == 0, "relative imports hide which package is meant"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def forbidden(package: str, source: str) -> list[str]:
    allowed = MAY_IMPORT[package] | {package}
    return [
        module
        for module in imported_modules(source)
        if module.split(".")[0] in {*MAY_IMPORT, "tests"}
        and (
            not any(f"{module}.".startswith(f"{each}.") for each in allowed)
            or (package != HARNESS and f"{module}.".startswith(f"{HARNESS}."))
        )
    ]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    files = [
        file for file in sorted((ROOT / package.replace(".", "/")).rglob("*.py")) if owner(file) == package
    ]
    assert files
    wrong = {
        str(file.relative_to(ROOT)): modules
        for file in files
        if (modules := forbidden(package, file.read_text(encoding="utf-8")))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("events", "import config"),
        ("broker", "def late():\n    from storage.schema import effects"),
        ("storage", "if TYPE_CHECKING:\n    import broker.protocols"),
        ("consumer", "from handlers.registry import all_handlers"),
        ("consumer", "from handlers import registry"),
        ("ingress", "from tests.services import kafka"),
        ("handlers", "from consumer.worker import Worker"),
        ("handlers", "from handlers.testing import Trial"),
        ("cli", "from handlers import testing"),
        ("handlers.testing", "from handlers.registry import load_handlers"),
    ],
)
def test_a_wrong_import_is_found(package: str, source: str) -> None:
    assert forbidden(package, source)


def test_every_package_of_the_wheel_has_its_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(MAY_IMPORT) - {
        HARNESS
    }
