"""Both OpenAPI documents against the real servers: what they promise is what is answered."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
import uvloop
import yaml
from hypothesis import HealthCheck, given, settings
from prometheus_client import CollectorRegistry
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth

from events.signature import sign
from ingress.admin import admin_app
from ingress.metrics import IngressMetrics
from ingress.server import serve
from tests.ingress.http import SECRET
from tests.ingress.served import SECRETS, FakeLog, an_ingress

PAGES = Path(__file__).parents[2] / "docs" / "openapi"
short = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


class Served:
    """Both servers in a thread of their own, as schemathesis blocks."""

    def __init__(self) -> None:
        self.log = FakeLog()
        self.well = True
        self._up, self._loop = threading.Event(), uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])
        self._thread.start()
        assert self._up.wait(20)

    async def _serve(self) -> None:
        registry, self._end = CollectorRegistry(), asyncio.Event()
        metrics = IngressMetrics(registry)
        admin = admin_app(live=dict, ready=lambda: {"log": self.well}, registry=registry)
        async with AsyncExitStack() as stack:
            door = serve(an_ingress(self.log, metrics), "127.0.0.1", 0, on_fault=metrics.count_answer)
            self.door = f"http://127.0.0.1:{await stack.enter_async_context(door)}"
            self.admin = f"http://127.0.0.1:{await stack.enter_async_context(serve(admin, '127.0.0.1', 0))}"
            self._up.set()
            await self._end.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


def operations(page: str) -> list[Any]:
    schema = schemathesis.openapi.from_dict(yaml.safe_load((PAGES / page).read_text(encoding="utf-8")))
    return [found.ok() for found in schema.get_all_operations()]


def attempted(operation: Any, mode: GenerationMode, attempt: Callable[[schemathesis.Case], None]) -> None:
    @short
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: schemathesis.Case) -> None:
        attempt(case)

    run()


class Signed(requests.auth.AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        request.headers["x-voucherify-signature"] = sign(
            body.encode() if isinstance(body, str) else body, SECRET
        )
        return request


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("operation", operations("ingress.yaml"), ids=lambda operation: operation.label)
def test_the_door_answers_as_it_says_whatever_is_sent(
    served: Served, operation: Any, mode: GenerationMode
) -> None:
    def attempt(case: schemathesis.Case) -> None:
        answer = case.call_and_validate(base_url=served.door)
        assert answer.status_code != 202, "nothing of this was signed"

    attempted(operation, mode, attempt)


@pytest.mark.parametrize("operation", operations("ingress.yaml"), ids=lambda operation: operation.label)
def test_what_is_signed_is_accepted(served: Served, operation: Any) -> None:
    def attempt(case: schemathesis.Case) -> None:
        if "tenant" in case.path_parameters:
            case.path_parameters["tenant"] = "shop-2"
        answer = case.call(base_url=served.door, auth=Signed())
        assert answer.status_code == 202
        case.validate_response(answer, excluded_checks=[ignored_auth])

    assert SECRET in SECRETS["shop-2"]
    attempted(operation, GenerationMode.POSITIVE, attempt)


@pytest.mark.parametrize("well", [True, False])
@pytest.mark.parametrize("operation", operations("admin.yaml"), ids=lambda operation: operation.label)
def test_the_admin_port_answers_as_it_says(served: Served, operation: Any, well: bool) -> None:
    served.well = well
    unready = schemathesis.checks.not_a_server_error

    def attempt(case: schemathesis.Case) -> None:
        case.call_and_validate(base_url=served.admin, excluded_checks=[unready])

    attempted(operation, GenerationMode.POSITIVE, attempt)


def test_every_answer_there_is_is_in_the_document() -> None:
    content = yaml.safe_load((PAGES / "ingress.yaml").read_text(encoding="utf-8"))
    for path in content["paths"].values():
        assert set(path) == {"post"}
        assert set(path["post"]["responses"]) == {
            *("202", "400", "401", "403", "404", "405", "408", "413", "415", "431", "503")
        }
