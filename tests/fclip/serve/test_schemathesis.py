"""Requests that are generated from the OpenAPI document, valid and not: no 500, and each reply is as documented."""

import shutil

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from fclip.serve.app import create_app
from fclip.serve.guard import Message, Receive, Send
from fclip.serve.settings import Settings
from tests.fclip.serve.conftest import Shop

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def document(published_once: Shop, tmp_path_factory: pytest.TempPathFactory) -> schemathesis.BaseSchema:
    """The OpenAPI document of the service over 40 pictures."""
    root = tmp_path_factory.mktemp("schemathesis") / "shop"
    shutil.copytree(published_once.root, root, symlinks=True)  # grades are stored in it
    app = create_app(root, Settings(hosts=("testserver",), num_threads=1, log_queries=False))

    async def running(scope: Message, receive: Receive, send: Send) -> None:
        """The service, which goes on running: schemathesis starts and stops an application for each request."""
        if scope["type"] == "http":
            await app(scope, receive, send)
            return
        for _ in ("startup", "shutdown"):
            await send({"type": f"{(await receive())['type']}.complete"})

    return schemathesis.openapi.from_asgi("/openapi.json", running)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/embeddings"),
        ("GET", "/v1/models"),
        ("POST", "/v1/search"),
        ("GET", "/v1/similar/{dataset}/{product_id}"),
        ("POST", "/v1/judgements"),
        ("GET", "/v1/suggestions"),
        ("GET", "/pictures/{dataset}/{sha256}"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
    ],
)
def test_replies_are_as_documented(document: schemathesis.BaseSchema, method: str, path: str) -> None:
    operation = document[path][method]

    @given(case=strategies.one_of(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))
    @settings(max_examples=200, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)

    check()


@pytest.mark.slow
def test_all_operations_are_tested(document: schemathesis.BaseSchema) -> None:
    found = {(each.ok().method.upper(), each.ok().path) for each in document.get_all_operations()}
    marks = test_replies_are_as_documented.pytestmark
    (listed,) = (mark.args[1] for mark in marks if mark.name == "parametrize")
    assert found == set(listed)
