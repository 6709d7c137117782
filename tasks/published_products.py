"""What changed in the champion's published index: new, changed and deleted products."""

from dataclasses import dataclass

from fclip.errors import UserError
from fclip.files import sha256_json
from fclip.search.catalog import Catalog
from fclip.search.manifest import CATALOG, read_manifest
from fclip.search.published import Published
from fclip.search.vectors import read_vectors
from tasks.workspace.paths import Workspace


@dataclass(frozen=True)
class ProductChanges:
    """Numbers of products. `changed`: those with another title, other attributes, or other images."""

    new: int
    changed: int
    deleted: int

    def __str__(self) -> str:
        return f"{self.new:,} new, {self.changed:,} changed, {self.deleted:,} deleted"


def published_index(workspace: Workspace) -> str | None:
    """Return the name of the champion's published index; None if none can be read."""
    try:
        return Published(workspace.published).pointer("champion").current.index
    except UserError:
        return None


def product_changes(workspace: Workspace, before: str | None, after: str) -> ProductChanges | None:
    """Compare the products of two indexes of the workspace; None if the index before cannot be read."""
    if before is None:
        return None
    if before == after:
        return ProductChanges(0, 0, 0)
    try:
        old = _products(workspace, before)
    except UserError:
        return None
    new = _products(workspace, after)
    changed = sum(old[key] != new[key] for key in old.keys() & new.keys())
    return ProductChanges(len(new.keys() - old.keys()), changed, len(old.keys() - new.keys()))


def _products(workspace: Workspace, index: str) -> dict[tuple[str, str], str]:
    """Return (dataset, product id) -> digest of what the index shows of the product."""
    folder = Published(workspace.published).indexes / index
    manifest = read_manifest(folder)
    catalog = Catalog(folder / CATALOG)
    vectors = read_vectors(folder)
    images = catalog.image_sha256(range(manifest.num_images))
    return {
        (product.dataset, product.product_id): sha256_json(
            [product.title, dict(product.attributes), [images[row] for row in range(rows.start, rows.stop)]]
        )
        for number, product in catalog.products(range(manifest.num_products)).items()
        if (rows := vectors.images_of(number))
    }
