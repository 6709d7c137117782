"""A page with the pictures of search results: one HTML file."""

from collections.abc import Sequence
from pathlib import Path

from fclip.files import atomic_write
from fclip.pages.html import environment, thumbnails
from fclip.search.index import Index
from fclip.search.results import Hit

MAX_PICTURES = 200


def write_page(path: Path, index: Index, hits: Sequence[Hit], *, title: str) -> None:
    """Write the results of a query as a page; at most 200 have a picture.

    Raises:
        UserError: the workspace has no image packs.
    """
    pictures: dict[str, str] = {}
    for dataset in sorted({hit.dataset for hit in hits}):
        digests = [hit.image_sha256 for hit in hits[:MAX_PICTURES] if hit.dataset == dataset]
        pictures |= thumbnails(index.images_folder(dataset), digests)
    template = environment(Path(__file__).parent).get_template("results.html.j2")
    page = template.render(title=title, hits=hits, pictures=pictures, index=index, manifest=index.manifest)
    atomic_write(path, page)
