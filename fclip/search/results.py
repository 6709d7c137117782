"""Search results: products with scores, as a pandas DataFrame, and their images as files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fclip.errors import UserError
from fclip.files import atomic_write

if TYPE_CHECKING:
    import pandas as pd

PNG = b"\x89PNG"  # stored images are JPEG or PNG


@dataclass(frozen=True)
class Hit:
    """A product that was found.

    Attributes:
        score: what the results are ordered by: the similarity, or for a hybrid search the sum of reciprocal ranks.
        similarity: cosine similarity of the query to the product's most similar image.
        title: the embedded text of the product; "" if it has none.
        image_sha256: digest of the most similar image.
    """

    dataset: str
    product_id: str
    score: float
    similarity: float
    title: str
    attributes: Mapping[str, str]
    image_sha256: str


def to_frame(
    found: Sequence[Sequence[Hit]], attributes: Sequence[str], *, paths: Mapping[str, Path] | None, is_many: bool
) -> "pd.DataFrame":
    """Return the results of queries as one table with a row for each product.

    Args:
        attributes: names of the columns for attributes; one that is the name of another column is left out.
        paths: the image file by digest, for the column `image_path`; None for no such column.
        is_many: whether to add the column `query`, the number of the query.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise UserError(
            "results as a DataFrame need the package pandas; run `pip install '.[search]'` in the folder of fclip, or "
            "use `Index.find`"
        ) from error
    names = [name for name in attributes if name not in {field.name for field in fields(Hit)}]
    rows: list[dict[str, Any]] = []
    for number, hits in enumerate(found):
        for hit in hits:
            row = {**asdict(hit), "query": number, **{name: hit.attributes.get(name) for name in names}}
            rows.append(row | ({"image_path": str(paths[hit.image_sha256])} if paths is not None else {}))
    fixed = ["product_id", "dataset", "score", "similarity", "title", "image_sha256"]
    columns = [*(["query"] if is_many else []), *fixed, *(["image_path"] if paths is not None else []), *names]
    return pd.DataFrame(rows, columns=columns)


def write_images(hits: Sequence[Hit], images_folder: Callable[[str], Path], target: Path) -> dict[str, Path]:
    """Write the images of results to the folder `target`, unless they are there, and return their paths by digest.

    Args:
        images_folder: returns the folder with the image packs of a dataset.

    Raises:
        UserError: a dataset has no image packs, or an image is in none.
    """
    from fclip.images.packs import ImagePacks  # pyarrow takes a moment to import

    digests = sorted({hit.image_sha256 for hit in hits})
    paths: dict[str, Path] = {}
    for digest in digests:
        names = [target / digest[:2] / f"{digest}.{suffix}" for suffix in ("jpg", "png")]
        paths.update((digest, path) for path in names if path.is_file())
    if missing := [digest for digest in digests if digest not in paths]:
        packs = ImagePacks([images_folder(name) for name in sorted({hit.dataset for hit in hits})])
        for digest, content in zip(missing, packs.read_many(missing), strict=True):
            paths[digest] = target / digest[:2] / f"{digest}.{'png' if content.startswith(PNG) else 'jpg'}"
            atomic_write(paths[digest], content)
    return paths
