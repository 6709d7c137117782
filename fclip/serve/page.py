"""The page for people: a plain search that works without JavaScript, and what JavaScript adds to it."""

import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from fclip.errors import UserError
from fclip.pages.html import environment
from fclip.serve import schemas
from fclip.serve.errors import NotThere, ServiceError
from fclip.serve.guard import COOKIE, is_key
from fclip.serve.service import Service

STATIC = Path(__file__).parent / "static"
PER_PAGE = 24
MAX_PAGE = 400
MAX_FILTERS = 50
MAX_FACET_VALUES = 100
MAX_PAIRS = 1000
COOKIE_SECONDS = 30 * 24 * 3600


class PageQuery(BaseModel):
    """A query of the page. All but the image is in the address.

    Attributes:
        filter: `name=value`. similar: `dataset/product id`, instead of text and image.
        compare: whether champion and challenger stand side by side.
    """

    model_config = ConfigDict(extra="ignore")
    text: Annotated[str, Field(max_length=2000)] = ""
    negative: Annotated[str, Field(max_length=2000)] = ""
    image: str | None = None
    weight: schemas.Weight = 0.5
    filter: Annotated[list[str], Field(max_length=MAX_FILTERS)] = []
    hybrid: bool = False
    similar: Annotated[str, Field(max_length=500)] = ""
    page: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 1
    model: schemas.Role = "champion"
    compare: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.text.strip() or self.image or self.similar)

    @property
    def filters(self) -> dict[str, str | list[str]]:
        """Attribute -> values. An entry that is not `name=value` names an unknown attribute."""
        found: dict[str, str | list[str]] = {}
        for entry in self.filter:
            name, _, value = entry.partition("=")
            values = found.setdefault(name, [])
            assert isinstance(values, list)
            values.append(value)
        return found

    def address(self, **changes: Any) -> str:
        """Return the address of this query with changes."""
        query = self.model_copy(update={"page": 1, **changes})
        values = {
            "text": query.text, "negative": query.negative, "filter": query.filter, "similar": query.similar,
            "weight": query.weight if query.weight != 0.5 else None, "hybrid": "1" if query.hybrid else None,
            "page": query.page if query.page > 1 else None, "compare": "1" if query.compare else None,
            "model": query.model if query.model != "champion" else None,
        }  # fmt: skip
        return "/?" + urlencode({name: value for name, value in values.items() if value}, doseq=True)


class PairGrade(BaseModel):
    """A grade of a result of one side of a comparison."""

    model_config = ConfigDict(extra="forbid")
    pair: str
    side: Annotated[int, Field(ge=0, le=1)]
    query: Annotated[str, Field(min_length=1, max_length=1000)]
    dataset: str
    product_id: str
    grade: Annotated[int, Field(ge=0, le=4)]
    by: Annotated[str, Field(min_length=1, max_length=100)]


@dataclass(frozen=True)
class Pair:
    """A comparison that is on a screen: the roles of its sides, and the indexes that answered."""

    roles: Sequence[schemas.Role]
    indexes: Sequence[str]


class Pairs:
    """The latest 1,000 comparisons."""

    def __init__(self) -> None:
        self._pairs: OrderedDict[str, Pair] = OrderedDict()

    def add(self, pair: Pair) -> str:
        """Return the name of a new comparison."""
        name = secrets.token_urlsafe(12)
        self._pairs[name] = pair
        if len(self._pairs) > MAX_PAIRS:
            self._pairs.popitem(last=False)
        return name

    def get(self, name: str) -> Pair:
        if name not in self._pairs:
            raise NotThere("the comparison is too old; search again")
        return self._pairs[name]


def page_routes(service: Service) -> APIRouter:
    """Return the routes of the page."""
    router, pairs = APIRouter(), Pairs()
    templates = environment(Path(__file__).parent / "templates")

    async def sides(query: PageQuery) -> dict[str, Any]:
        """Return what the template of the results needs."""
        if query.is_empty:
            return {"sides": [], "facets": await _search(service, query, query.model), "error": None, "pair": None}
        roles: list[schemas.Role] = [query.model]
        if query.compare:
            roles = ["champion", "challenger"]
            secrets.SystemRandom().shuffle(roles)
        try:
            replies = [await _search(service, query, role) for role in roles]
        except (ServiceError, UserError) as error:
            return {"sides": [], "facets": None, "error": getattr(error, "message", str(error)), "pair": None}
        pair = pairs.add(Pair(roles, [reply.index for reply in replies])) if query.compare else None
        return {"sides": replies, "facets": replies[0], "error": None, "pair": pair}

    @router.get("/", response_class=HTMLResponse)
    async def page(request: Request) -> Response:
        values = request.query_params
        fields: dict[str, Any] = {name: values[name] for name in values if name != "filter"}
        query = _parsed(fields | {"filter": values.getlist("filter")})
        models = await service.models()
        found = await sides(query)
        html = templates.get_template("page.html.j2").render(
            query=query, models=models.data, **found, **_shown(query, found)
        )
        return HTMLResponse(html, 400 if found["error"] else 200)

    @router.post("/results", response_class=HTMLResponse)
    async def results(query: PageQuery) -> Response:
        found = await sides(query)
        html = templates.get_template("results.html.j2").render(query=query, **found, **_shown(query, found))
        return HTMLResponse(html, 400 if found["error"] else 200)

    @router.post("/grades")
    async def grade(given: PairGrade) -> dict[str, list[str]]:
        """Store a grade, and say which side is which."""
        pair = pairs.get(given.pair)
        values = given.model_dump(exclude={"pair", "side"})
        values |= {"model": pair.roles[given.side], "index": pair.indexes[given.side]}
        await service.grade(schemas.GradesRequest(grades=[schemas.Grade(**values)]))
        return {"roles": list(pair.roles)}

    @router.get("/about", response_class=HTMLResponse)
    async def about() -> Response:
        models = await service.models()
        indexes = [(role, served.index, served.publication) for role, served in service.indexes.current().items()]
        template = templates.get_template("about.html.j2")
        cards = {role for role, *_ in indexes if service.indexes.published.card_file(role).is_file()}
        has_report = _report(service).is_file()
        return HTMLResponse(template.render(models=models.data, indexes=indexes, cards=cards, has_report=has_report))

    @router.get("/report")
    async def report() -> Response:
        if not _report(service).is_file():
            raise NotThere("this workspace has no report; run `fclip retrain`")
        policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
        return FileResponse(_report(service), headers={"content-security-policy": policy}, media_type="text/html")

    @router.get("/card/{role}")
    async def card(role: schemas.Role) -> Response:
        """The model card, as text: it is Markdown."""
        path = service.indexes.published.card_file(role)
        if not path.is_file():
            raise NotThere(f"the model of the {role} has no card, since it is not registered")
        return FileResponse(path, media_type="text/plain; charset=utf-8")

    _add_login(router, service, templates)
    _add_static(router)
    return router


def _add_login(router: APIRouter, service: Service, templates: Any) -> None:
    @router.get("/login", response_class=HTMLResponse)
    async def login() -> str:
        return str(templates.get_template("login.html.j2").render(is_wrong=False))

    @router.post("/login", response_class=HTMLResponse)
    async def enter(request: Request, _: Annotated[None, Depends(_require_form)]) -> Response:
        key = parse_qs((await request.body()).decode("utf-8", "replace")).get("key", [""])[0]
        if not is_key(key, service.settings):
            return HTMLResponse(templates.get_template("login.html.j2").render(is_wrong=True), 401)
        reply = RedirectResponse("/", 303)
        is_secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
        reply.set_cookie(COOKIE, key, COOKIE_SECONDS, httponly=True, samesite="strict", secure=is_secure)
        return reply


def _add_static(router: APIRouter) -> None:
    @router.get("/style.css")
    async def style() -> Response:
        return FileResponse(STATIC / "style.css", media_type="text/css")

    @router.get("/page.js")
    async def script() -> Response:
        return FileResponse(STATIC / "page.js", media_type="text/javascript")


async def _require_form(request: Request) -> None:
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise ServiceError("the content type must be application/x-www-form-urlencoded", 415)


def _parsed(fields: Mapping[str, Any]) -> PageQuery:
    try:
        return PageQuery.model_validate({name: value for name, value in fields.items() if value != ""})
    except ValueError as error:  # pydantic's errors are of this class
        first = error.errors()[0] if hasattr(error, "errors") else {"loc": (), "msg": str(error)}
        raise ServiceError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


async def _search(service: Service, query: PageQuery, role: schemas.Role) -> schemas.SearchReply:
    """Return one side of the results, with facets; without a query, only facets."""
    if query.is_empty:
        served = await service.served(role)
        facets = await service.in_thread(lambda: served.index.facets(query.filters))
        return schemas.SearchReply(
            model=role, model_sha256=served.publication.model_sha256, version=served.publication.version,
            index=served.publication.index, since=served.publication.since, offset=0,
            num_matching=served.index.manifest.num_products, results=[], facets=facets,
        )  # fmt: skip
    request = schemas.SearchRequest(
        text=query.text or None,
        image=query.image,
        negative=query.negative or None,
        image_weight=query.weight,
        filters=query.filters,
        hybrid=query.hybrid and bool(query.text),
        k=PER_PAGE,
        offset=(query.page - 1) * PER_PAGE,
        facets=True,
        model=role,
    )
    if query.similar:
        dataset, _, product_id = query.similar.partition("/")
        _, reply = await service.similar(dataset, product_id, request)
    else:
        _, reply = await service.search(request)
    return reply


def _shown(query: PageQuery, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facets to show, and whether there are more pages."""
    reply = found["facets"]
    facets = [] if reply is None else [
        (name, list(values.items())[:MAX_FACET_VALUES])
        for name, values in reply.facets.items()
        if len(values) > 1 and (len(values) <= MAX_FACET_VALUES or name in query.filters)
    ]  # fmt: skip
    last = max((side.offset + len(side.results) for side in found["sides"]), default=0)
    num_matching = max((side.num_matching for side in found["sides"]), default=0)
    has_more = last < num_matching and query.page < MAX_PAGE and any(side.results for side in found["sides"])
    return {"shown_facets": facets, "has_more": has_more, "per_page": PER_PAGE}


def _report(service: Service) -> Path:
    return service.workspace / "reports" / "report.html"
