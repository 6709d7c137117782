"""What the routes do: embed, search, similar products. One request is answered from one index and its model."""

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from fclip.runtime.model import Model
from fclip.search.query import Query, combined, unit_queries
from fclip.search.results import Hit
from fclip.serve import schemas
from fclip.serve.batching import Batcher
from fclip.serve.errors import Busy, NotThere, ServiceError
from fclip.serve.grades import GradedResult, Inbox, now
from fclip.serve.inputs import checked_text, decode, image_bytes, split_inputs
from fclip.serve.pictures import Pictures
from fclip.serve.queries import QueryLog
from fclip.serve.served import Indexes, Served, roles_of
from fclip.serve.settings import Settings

FloatArray = NDArray[np.float32]
Value = TypeVar("Value")
NUM_THREADS = 4  # that decode images and search
MIN_DIGEST = 12  # characters of a model's digest that name it


class Service:
    """The published indexes of a workspace, with bounds on what waits."""

    def __init__(self, workspace: Path, settings: Settings) -> None:
        """Args: workspace: the folder that contains `published`."""
        self.settings = settings
        self.workspace = workspace
        self.indexes = Indexes(workspace / "published", num_threads=settings.num_threads)
        self.batcher = Batcher(
            batch_size=settings.batch_size, wait_ms=settings.batch_wait_ms, max_waiting=settings.max_waiting
        )
        self.searches = Batcher(batch_size=settings.batch_size, wait_ms=0, max_waiting=settings.max_waiting)
        self.pictures = Pictures(workspace)
        state = workspace / ".fclip"
        self.queries = QueryLog(state / "queries.jsonl" if settings.log_queries else None)
        self.inbox = Inbox(state / "judgements.jsonl")
        self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="request")
        self._num_in_threads = 0

    def close(self) -> None:
        self.batcher.close()
        self.searches.close()
        self.indexes.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def in_thread(self, function: Callable[[], Value]) -> Value:
        """Run a function in a thread; raises Busy if too many wait."""
        if self._num_in_threads >= self.settings.max_waiting:
            raise Busy("too many requests wait; try again in a second")
        self._num_in_threads += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function)
        finally:
            self._num_in_threads -= 1

    async def served(self, name: str) -> Served:
        """Return the index of a role, or the one whose model has this digest.

        Raises:
            NotThere: there is none.
        """
        if role := roles_of(name):
            return await self.indexes.get(role)
        champion = await self.indexes.get("champion")
        for served in (champion, *self.indexes.current().values()):
            if len(name) >= MIN_DIGEST and served.publication.model_sha256.startswith(name):
                return served
        raise NotThere(f"no model {name[:80]!r}; models are champion and challenger, see /v1/models")

    # Embeddings

    async def embeddings(self, request: schemas.EmbeddingsRequest) -> tuple[Served, schemas.EmbeddingsReply]:
        """Embed texts and images."""
        served = await self.served(request.model)
        dim = served.model.dim
        if request.dimensions not in (None, dim):
            raise ServiceError(f"the embeddings of this model have {dim} dimensions; others cannot be chosen")
        inputs = split_inputs(request.input, strings_are_images=request.modality == "image", settings=self.settings)
        vectors = await self._embed(served, inputs)
        data = [
            schemas.Embedding(index=number, embedding=_encoded(vector, request.encoding_format))
            for number, vector in enumerate(vectors)
        ]
        usage = schemas.Usage(prompt_tokens=len(inputs), total_tokens=len(inputs))
        return served, schemas.EmbeddingsReply(data=data, model=served.role, usage=usage)

    async def _embed(self, served: Served, inputs: Sequence[str | bytes]) -> FloatArray:
        model = served.model
        texts = [(number, each) for number, each in enumerate(inputs) if isinstance(each, str)]
        images = [(number, each) for number, each in enumerate(inputs) if isinstance(each, bytes)]
        result = np.empty((len(inputs), model.dim), np.float32)

        async def embed_texts() -> None:
            if texts:
                result[[number for number, _ in texts]] = await self._embed_texts(model, [text for _, text in texts])

        async def embed_images() -> None:
            for start in range(0, len(images), self.settings.batch_size):
                part = images[start : start + self.settings.batch_size]
                pixels = [await self._decode(content, served, f"input {number}") for number, content in part]
                result[[number for number, _ in part]] = await self._embed_pixels(model, pixels)

        await asyncio.gather(embed_texts(), embed_images())
        return result

    async def _embed_texts(self, model: Model, texts: Sequence[str]) -> list[FloatArray]:
        return await self.batcher.run((model, "texts"), model.embed_texts, texts)

    async def _embed_pixels(self, model: Model, pixels: Sequence[NDArray[np.uint8]]) -> list[FloatArray]:
        return await self.batcher.run((model, "pixels"), lambda batch: model.encode_pixels(np.stack(batch)), pixels)

    async def _decode(self, content: bytes, served: Served, name: str) -> NDArray[np.uint8]:
        return await self.in_thread(lambda: decode(content, served.model, name, self.settings))

    # Search

    async def search(self, request: schemas.SearchRequest) -> tuple[Served, schemas.SearchReply]:
        """Search by text, image or both."""
        served = await self.served(request.model)
        index, k = served.index, request.num_ranked
        query = await self._query(served, request)
        # Queries with the same filters are searched together.
        (hits,) = await self.searches.run(
            (index, json.dumps(request.filters, sort_keys=True), k, request.hybrid),
            lambda queries: index.find(queries, filters=request.filters, k=k, hybrid=request.hybrid),
            [query],
        )
        found = await self._reply(served, request, hits)
        self.queries.add(
            text=request.text,
            has_image=request.image is not None,
            filters=request.filters,
            role=served.role,
            num_results=len(found.results),
        )
        return served, found

    async def similar(
        self, dataset: str, product_id: str, request: schemas.SearchRequest
    ) -> tuple[Served, schemas.SearchReply]:
        """Find products similar to a product, with the filters and the paging of a request."""
        served = await self.served(request.model)
        if not await self.in_thread(lambda: served.index.catalog.numbers_of(product_id, dataset)):
            raise NotThere(f"no product {product_id[:80]!r} is published in the dataset {dataset[:80]!r}")
        hits = await self.in_thread(
            lambda: served.index.find_similar(
                product_id, dataset=dataset, filters=request.filters, k=request.num_ranked
            )
        )
        found = await self._reply(served, request, hits)
        return served, found

    async def _query(self, served: Served, request: schemas.SearchRequest) -> Query:
        """Return the query of a request with its vector."""
        texts = {
            name: checked_text(text, f"the {name}", self.settings)
            for name, text in (("text", request.text), ("negative text", request.negative))
            if text is not None
        }
        content = image_bytes(request.image, "the image") if request.image is not None else None
        plain = Query(text=request.text, image=content, negative=request.negative, image_weight=request.image_weight)
        if request.hybrid and request.text is None:
            raise ServiceError("a hybrid search needs a text, since it searches for words")

        async def embed_image() -> FloatArray | None:
            if content is None:
                return None
            pixels = await self._decode(content, served, "the image")
            return (await self._embed_pixels(served.model, [pixels]))[0]

        vectors, image = await asyncio.gather(self._embed_texts(served.model, list(texts.values())), embed_image())
        by_name = dict(zip(texts, vectors, strict=True))
        vector = combined(plain, text=by_name.get("text"), image=image, negative=by_name.get("negative text"))
        (unit,) = unit_queries(vector[None])
        return Query(text=request.text, vector=unit, model_sha256=served.publication.model_sha256)

    async def _reply(self, served: Served, request: schemas.SearchRequest, hits: list[Hit]) -> schemas.SearchReply:
        index, publication = served.index, served.publication

        def count() -> tuple[int, dict[str, dict[str, int]] | None]:
            return index.count(request.filters), index.facets(request.filters) if request.facets else None

        needs_time = bool(request.filters or request.facets)
        num_matching, facets = await self.in_thread(count) if needs_time else count()
        return schemas.SearchReply(
            model=served.role,
            model_sha256=publication.model_sha256,
            version=publication.version,
            index=publication.index,
            since=publication.since,
            offset=request.offset,
            num_matching=num_matching,
            results=[schemas.Result(**vars(hit), image=picture_address(hit)) for hit in hits[request.offset :]],
            facets=facets,
        )

    # Models, pictures and grades

    async def models(self) -> schemas.ModelsReply:
        """Return the models that answer."""
        cards = []
        for role in ("champion", "challenger"):
            try:
                served = await self.indexes.get(role)
            except ServiceError:
                continue
            publication, manifest = served.publication, served.index.manifest
            created = int(datetime.fromisoformat(publication.since).timestamp())
            cards.append(schemas.ModelCard(
                id=role, created=created, model_sha256=publication.model_sha256, version=publication.version,
                index=publication.index, dimensions=manifest.dim, num_products=manifest.num_products,
            ))  # fmt: skip
        return schemas.ModelsReply(data=cards)

    async def picture(self, dataset: str, sha256: str) -> bytes:
        """Return a small picture of a product as WebP."""
        datasets = frozenset(name for served in self.indexes.current().values() for name in served.datasets)
        return await self.in_thread(lambda: self.pictures.get(dataset, sha256, datasets))

    async def suggestions(self, typed: str, number: int) -> list[str]:
        """Return values of the catalog that contain a word that begins with what was typed."""
        served = await self.served("champion")
        return await self.in_thread(lambda: served.index.suggestions(typed, number))

    async def grade(self, request: schemas.GradesRequest) -> int:
        """Store grades in the inbox, and return their number."""
        at = now()
        stored = [GradedResult(**each.model_dump(), at=at) for each in request.grades]
        await self.in_thread(lambda: self.inbox.add(stored))
        return len(stored)


def picture_address(hit: Hit) -> str:
    """Return the address of a product's picture on this service."""
    return f"/pictures/{quote(hit.dataset, safe='')}/{hit.image_sha256}"


def _encoded(vector: FloatArray, encoding: Literal["float", "base64"]) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(np.ascontiguousarray(vector, "<f4").tobytes()).decode()
    return [float(value) for value in vector]
