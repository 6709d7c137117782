"""The application: routes, and the errors of requests as one sentence with a status."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from fclip.errors import UserError
from fclip.serve import schemas
from fclip.serve.errors import ServiceError, error_body
from fclip.serve.guard import Guard
from fclip.serve.metrics import Metrics
from fclip.serve.page import page_routes
from fclip.serve.served import Served
from fclip.serve.service import Service
from fclip.serve.settings import Settings

DESCRIPTION = "Embeddings and search by the models that fclip has published. Nothing is fetched, and no path is opened."
KEY = HTTPBearer(auto_error=False, description="One of FCLIP_API_KEYS, if the service has keys.")  # the guard checks it
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}


def create_app(workspace: Path, settings: Settings) -> Guard:
    """Return the ASGI application for the folder that contains `published`."""
    service = Service(workspace, settings)
    metrics = Metrics(service.batcher, service.indexes)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="fclip",
        version=version("fclip"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.include_router(_api(service))
    _add_probes(app, service, metrics)
    app.include_router(page_routes(service), include_in_schema=False)
    return Guard(app, settings, metrics.observe)


def _api(service: Service) -> APIRouter:
    """Return the routes for programs."""
    api = APIRouter(responses=schemas.ERRORS, dependencies=[Depends(KEY)])
    json_only = [Depends(_require_json)]

    @api.post("/v1/embeddings", tags=["embeddings"], dependencies=json_only)
    async def embeddings(request: schemas.EmbeddingsRequest, response: Response) -> schemas.EmbeddingsReply:
        """Embed texts and images. The reply is OpenAI's."""
        served, reply = await service.embeddings(request)
        response.headers.update(digests(served))
        return reply

    @api.get("/v1/models", tags=["embeddings"])
    async def models() -> schemas.ModelsReply:
        """List the models that answer: the champion, and the challenger if one is published."""
        return await service.models()

    @api.post("/v1/search", tags=["search"], dependencies=json_only)
    async def search(request: schemas.SearchRequest, response: Response) -> schemas.SearchReply:
        """Search by a text, an image, or both."""
        served, reply = await service.search(request)
        response.headers.update(digests(served))
        return reply

    @api.get("/v1/similar/{dataset}/{product_id:path}", tags=["search"])
    async def similar(
        dataset: str,
        product_id: str,
        response: Response,
        k: Annotated[int, Query(ge=1, le=schemas.MAX_K)] = 20,
        offset: Annotated[int, Query(ge=0, le=10_000 - schemas.MAX_K)] = 0,
        model: schemas.Role = "champion",
    ) -> schemas.SearchReply:
        """Find the products most similar to a product."""
        request = schemas.SearchRequest(k=k, offset=offset, model=model)
        served, reply = await service.similar(dataset, product_id, request)
        response.headers.update(digests(served))
        return reply

    @api.post("/v1/judgements", tags=["judgements"], dependencies=json_only)
    async def judgements(request: schemas.GradesRequest) -> schemas.GradesReply:
        """Store grades of results. `fclip judgements merge` adds them to the table that graded retrieval reads."""
        return schemas.GradesReply(num_stored=await service.grade(request))

    @api.get("/v1/suggestions", tags=["search"])
    async def suggestions(
        q: Annotated[str, Query(max_length=200)], n: Annotated[int, Query(ge=1, le=20)] = 8
    ) -> list[str]:
        """Complete a text that is being typed, from the attribute values of the catalog."""
        return await service.suggestions(q, n)

    @api.get("/pictures/{dataset}/{sha256}", tags=["search"], response_class=Response)
    async def picture(dataset: str, sha256: str) -> Response:
        """Return a small picture of a product as WebP."""
        return Response(await service.picture(dataset, sha256), media_type="image/webp", headers=FOREVER)

    return api


def _add_probes(app: FastAPI, service: Service, metrics: Metrics) -> None:
    @app.get("/healthz", tags=["operation"], response_class=PlainTextResponse)
    async def healthz() -> str:
        """Whether the service lives."""
        return "ok\n"

    @app.get(
        "/readyz", tags=["operation"], response_class=PlainTextResponse, responses={503: {"description": "Not ready"}}
    )
    async def readyz() -> str:
        """Whether the champion's index can answer."""
        served = await service.served("champion")
        return f"ok, index {served.publication.index}\n"

    @app.get("/metrics", tags=["operation"], response_class=PlainTextResponse)
    async def measurements() -> Response:
        """Measurements for Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def digests(served: Served) -> dict[str, str]:
    """Return the headers that say which model and index answered."""
    publication = served.publication
    return {"fclip-model-sha256": publication.model_sha256, "fclip-index": publication.index}


async def _require_json(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ServiceError(f"the content type is {kind[:80] or 'missing'}; send application/json", 415)


def _reply(status: int, message: str, kind: str) -> JSONResponse:
    headers = {"retry-after": "1"} if status == 503 else None
    return JSONResponse(error_body(message, kind), status, headers=headers)


async def _service_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return _reply(error.status, error.message, error.kind)


async def _user_error(_: Request, error: Exception) -> Response:
    return _reply(400, str(error), "invalid_request_error")


async def _validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = error.errors()
    # A value of several allowed types gets an error for each of them; that of its own type says most.
    first = next((each for each in errors if not each["type"].endswith("_type")), errors[0])
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    message = f"{where}: {first['msg']}" if where and first["type"] != "json_invalid" else str(first["msg"])
    if first["type"] == "json_invalid":
        message = f"the body is not JSON ({first.get('ctx', {}).get('error', first['msg'])})"
    return _reply(400, message[:500], "invalid_request_error")


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = {404: "there is no such address", 405: "the address does not take this method"}
    return _reply(error.status_code, known.get(error.status_code, str(error.detail)), "invalid_request_error")
