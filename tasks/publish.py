"""The steps that publish: build the index of an embedded catalog, and point search to it.

`publish` indexes data/embeddings, which the champion embedded. `publish_challenger` embeds with the challenger, outside
the DAG but from the same caches, into a second index. Search reads published/ and nothing else (`fclip.search`).
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from fclip.embeddings.store import Embeddings, read_embeddings, sample_texts
from fclip.errors import UserError
from fclip.export.runtime_folder import runtime_folder
from fclip.files import atomic_dir, atomic_write, read_json, sha256_file, sha256_json, sha256_tree
from fclip.registry.tags import CHALLENGER
from fclip.search.build import NUM_RECALL_QUERIES, CatalogEmbeddings, build_index
from fclip.search.catalog import Product
from fclip.search.config import SearchConfig
from fclip.search.lance import lancedb_version
from fclip.search.manifest import Sources, read_intact
from fclip.search.published import Exclusion, Pointer, Publication, Published, Role
from tasks.workspace.lock import lock
from tasks.workspace.params import Base, load_section, read_params
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_champion
from tasks.workspace.weights import find_model

if TYPE_CHECKING:
    from fclip.export.parity import ParityInputs

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedIndex:
    """What a publication did. `changed`: whether the pointer moved. `reason`: how the index searches."""

    role: Role
    index: str
    model_sha256: str
    num_products: int
    changed: bool
    reason: str


def publish(workspace: Workspace) -> PublishedIndex:
    """Build the index of data/embeddings unless it exists, and point search for the champion to it.

    The model that embedded them becomes part of what is published, in the form of the light runtime. The caller holds
    the lock of the run.

    Raises:
        UserError: the embeddings are missing or do not match the catalog, or the new index fails a check. The index
            that was published before stays.
    """
    pin = read_champion(workspace)
    digest = _embedded_by(workspace.embeddings)
    version = pin.version if pin and pin.model_sha256 == digest else None
    return _publish(workspace, "champion", workspace.embeddings, find_model(workspace, digest, pin), version)


def publish_challenger(workspace: Workspace) -> PublishedIndex | None:
    """Embed the catalog with the registered challenger, and publish its index beside the champion's.

    If there is no challenger besides the champion, the challenger's index is withdrawn. The caller holds the lock of
    the run.

    Returns:
        What was published; None if there is no challenger.

    Raises:
        UserError: as in `publish`.
    """
    from fclip.registry.store import versions  # mlflow takes seconds to import
    from tasks.embed import embed_catalog  # torch takes seconds to import

    name = load_section(workspace, "base", Base).registered_model
    pin = next((each.pin for each in versions(name) if CHALLENGER in each.aliases), None)
    champion = read_champion(workspace)
    if pin is None or (champion and champion.model_sha256 == pin.model_sha256):
        with _changing(workspace) as published:
            published.withdraw("challenger")
            _clean(workspace, published)
        return None
    embeddings = workspace.challenger_embeddings
    folder = find_model(workspace, pin.model_sha256, pin)
    embed_catalog(workspace, folder, pin.model_sha256, embeddings)
    try:
        return _publish(workspace, "challenger", embeddings, folder, pin.version)
    finally:
        shutil.rmtree(embeddings)  # the index has them, and features stay in the cache


def roll_back_index(workspace: Workspace, role: Role) -> Pointer:
    """Point search to the index before. It is searched with the model that embedded it; no champion changes.

    Raises:
        UserError: nothing is published, or there is no earlier index.
    """
    with _changing(workspace) as published:
        return published.roll_back(role, _now())


def take_down(workspace: Workspace, product_ids: list[str], *, dataset: str | None, undo: bool) -> list[Exclusion]:
    """Add products to those that no search returns, or remove them from the list. It takes effect at once.

    Returns:
        The products that were added or removed.

    Raises:
        UserError: no published index contains a product, or, to undo, a product was not taken down. Nothing changes.
    """
    with _changing(workspace) as published:
        before = published.exclusions()
        known = before if undo else _indexed(published, product_ids)
        chosen = [each for each in known if each.product_id in product_ids and dataset in (None, each.dataset)]
        if missing := [each for each in product_ids if each not in {found.product_id for found in chosen}]:
            where = f" of the dataset {dataset}" if dataset else ""
            what = "was taken down" if undo else "is published"
            raise UserError(f"no product {missing[0]!r}{where} {what}; nothing was changed")
        keys = {(each.dataset, each.product_id) for each in chosen}
        others = [each for each in before if (each.dataset, each.product_id) not in keys]
        published.write_exclusions(others if undo else [*others, *chosen])
    return chosen


def _indexed(published: Published, product_ids: list[str]) -> list[Exclusion]:
    """Return the products with these ids in any index that a pointer names, also in those before."""
    from fclip.search.catalog import Catalog
    from fclip.search.manifest import CATALOG

    found = {}
    for folder in published.indexes.iterdir() if published.indexes.is_dir() else ():
        if not (folder / CATALOG).is_file():
            continue
        catalog = Catalog(folder / CATALOG)
        numbers = [number for product_id in product_ids for number in catalog.numbers_of(product_id)]
        for product in catalog.products(numbers).values():
            found[product.dataset, product.product_id] = Exclusion(product.dataset, product.product_id, _now())
    return list(found.values())


def _publish(workspace: Workspace, role: Role, embeddings: Path, model: Path, version: int | None) -> PublishedIndex:
    config = load_section(workspace, "search", SearchConfig)
    published = Published(workspace.published)
    stored = read_embeddings(embeddings)
    excluded = {(each.dataset, each.product_id) for each in published.exclusions()}
    sources = _sources(workspace, embeddings, stored, config, excluded)
    folder = published.indexes / sources.index_name
    manifest = read_intact(folder)
    if manifest is None:  # it does not exist, or it is damaged
        manifest = build_index(folder, _with_attributes(workspace, embeddings, stored, excluded), sources, config)
    _publish_model(workspace, published, stored.model_sha256, model)
    decision = _decision(workspace, version)
    publication = Publication(sources.index_name, stored.model_sha256, version, _now(), decision)
    with _changing(workspace):
        changed = published.switch(role, publication)
        _clean(workspace, published)
        if changed or not published.card_file(role).is_file():
            _publish_card(workspace, published, role, version, model)
    return PublishedIndex(role, publication.index, stored.model_sha256, manifest.num_products, changed, manifest.reason)


def _sources(
    workspace: Workspace,
    embeddings: Path,
    stored: Embeddings,
    config: SearchConfig,
    excluded: set[tuple[str, str]],
) -> Sources:
    datasets = sorted(set(stored.datasets))
    templates = read_params(workspace.params)["caption"]["datasets"]
    manifest = read_json(embeddings / "manifest.json")
    catalogs = [sha256_file(workspace.catalog(name) / "products.parquet") for name in datasets]
    settings = [config.exact_below, config.min_recall, lancedb_version()]
    return Sources(
        model_sha256=stored.model_sha256,
        preprocessing_sha256=manifest["config_sha256"],
        template_sha256=sha256_json([[templates.get(name) for name in datasets], manifest["text"]]),
        catalog_sha256=sha256_json([datasets, catalogs, sha256_file(embeddings / "images.parquet"), sorted(excluded)]),
        settings_sha256=sha256_json(settings),
    )


def _with_attributes(
    workspace: Workspace, embeddings: Path, stored: Embeddings, excluded: set[tuple[str, str]]
) -> CatalogEmbeddings:
    """Join embeddings with the attributes and texts of the catalogs; products that were taken down are left out."""
    details: dict[tuple[str, str], tuple[dict[str, str], str]] = {}
    for name in sorted(set(stored.datasets)):
        table = pq.read_table(
            workspace.catalog(name) / "products.parquet", columns=["product_id", "attributes", "texts"]
        )
        for product_id, attributes, texts in zip(*(column.to_pylist() for column in table.columns), strict=True):
            details[name, product_id] = (dict(attributes), " ".join(text for _, text in texts))
    keys = list(zip(stored.datasets, stored.product_ids, strict=True))
    if missing := next((key for key in keys if key not in details), None):
        raise UserError(
            f"the product {missing[1]} of {missing[0]} is embedded, but not in the catalog; run `dvc repro embed`"
        )
    numbers: dict[tuple[str, str], int] = {}
    for key in keys:
        if key not in excluded:
            numbers.setdefault(key, len(numbers))
    rows = np.array([row for row, key in enumerate(keys) if key in numbers], np.int64)
    product_of_row = np.array([numbers[keys[row]] for row in rows.tolist()], np.int32)
    order = np.argsort(product_of_row, kind="stable")
    rows = rows[order]
    return CatalogEmbeddings(
        products=[
            Product(dataset, product_id, stored.title(dataset, product_id), *details[dataset, product_id])
            for dataset, product_id in numbers
        ],
        product_of_image=product_of_row[order],
        image_sha256=[stored.image_sha256[row] for row in rows.tolist()],
        vectors=stored.images[rows],
        text_vectors=sample_texts(embeddings, NUM_RECALL_QUERIES),
        num_taken_down=len(excluded & set(keys)),
    )


def _publish_model(workspace: Workspace, published: Published, model_sha256: str, model: Path) -> None:
    """Put the model into published/models in the form that the light runtime loads, so that search needs no torch."""
    target = published.model_folder(model_sha256)
    source = Path(runtime_folder(model, parity_inputs=partial(_parity_inputs, workspace)))
    if not target.is_dir() or sha256_tree(target) != sha256_tree(source):
        with atomic_dir(target) as temporary:
            shutil.copytree(source, temporary, dirs_exist_ok=True)


def _publish_card(workspace: Workspace, published: Published, role: Role, version: int | None, model: Path) -> None:
    """Write the model card of a registered version beside the pointer, for people who have no registry."""
    if version is None:
        published.card_file(role).unlink(missing_ok=True)
        return
    from tasks.model_card import model_card_of  # torch takes seconds to import

    atomic_write(published.card_file(role), model_card_of(workspace, str(version), model))


def _decision(workspace: Workspace, number: int | None) -> str:
    """Return what a person decided about a version last; "" for nothing."""
    if number is None:
        return ""
    from fclip.registry.decisions import decisions_of

    last = decisions_of(load_section(workspace, "base", Base).registered_model, number)[-1:]
    return last[0].words if last else ""


def _parity_inputs(workspace: Workspace) -> "ParityInputs":
    from tasks.model_package import parity_inputs  # torch takes seconds to import, and most models have graphs

    return parity_inputs(workspace)


def _embedded_by(embeddings: Path) -> str:
    if not (embeddings / "manifest.json").is_file():
        raise UserError(f"{embeddings} has no embeddings; run `fclip retrain`, or `dvc pull`")
    return str(read_json(embeddings / "manifest.json")["model_sha256"])


@contextmanager
def _changing(workspace: Workspace) -> Iterator[Published]:
    """Context in which this process alone changes pointers and the list of products that were taken down."""
    with lock(workspace.publish_lock, "a change of what is published", on_wait=logger.info):
        yield Published(workspace.published)


def _clean(workspace: Workspace, published: Published) -> None:
    published.clean(keep=load_section(workspace, "search", SearchConfig).keep)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
