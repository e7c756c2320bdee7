"""The short form of `make chaos`, and whether its judge can be trusted."""

import ast
from pathlib import Path

import pytest

from tests.chaos.run import chaos

SECONDS = 45.0
SEED = 1


@pytest.mark.kafka
@pytest.mark.postgres
@pytest.mark.timeout(400)
def test_a_deployment_that_is_hurt_under_load_keeps_its_promises(kafka_libs: None, tmp_path: Path) -> None:
    result = chaos(SEED, SECONDS, tmp_path)
    assert result.wrong == [], result
    assert result.figures["accepted"] > 500, "too little to prove anything"


@pytest.mark.parametrize("file", ["tests/chaos/oracle.py", "tests/handlers/model.py"])
def test_the_oracle_shares_no_code_with_the_product(file: str) -> None:
    tree = ast.parse((Path(__file__).parents[2] / file).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))
    assert imported <= {"collections", "collections.abc", "typing", "tests.handlers.model"}
