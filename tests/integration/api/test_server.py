"""Who gets into the HTTP API of a real Airflow API server."""

from __future__ import annotations

import pytest
from tests.integration.api.server import ApiServer

pytestmark = pytest.mark.airflow


def test_health_is_the_only_call_that_asks_nobody_who_they_are(server: ApiServer) -> None:
    nobody = server.as_()
    answer = nobody.call("GET", "/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    for path in ("/", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/no/such/call", "/health/", "//health"):
        assert nobody.call("GET", path).status_code == 401, path
