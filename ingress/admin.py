"""The admin port's app: is it alive, is it ready, how is it doing."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Checks = Callable[[], Mapping[str, bool]]
"""By name whether each part is well. Called for every probe: must be quick and must not raise."""


def admin_app(*, live: Checks, ready: Checks, registry: CollectorRegistry) -> Starlette:
    """`/health/live` and `/health/ready` answer 200 when all their checks are well, else 503; `/metrics`.

    Liveness must not look at dependencies: an outage elsewhere is no reason to be restarted.
    """

    def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    app = Starlette(
        routes=[
            Route("/health/live", _health(live)),
            Route("/health/ready", _health(ready)),
            Route("/metrics", metrics),
        ]
    )
    app.router.redirect_slashes = False
    return app


def _health(checks: Checks) -> Callable[[Request], Response]:
    def health(_: Request) -> Response:
        results = dict(checks())
        well = all(results.values())
        status = "ok" if well else "unavailable"
        return JSONResponse({"status": status, "checks": results}, 200 if well else 503)

    return health
