"""What a cell of the image column names: files in a folder here, or addresses elsewhere."""

from collections.abc import Callable, Iterable
from pathlib import Path

from fclip.catalog.config import TableSource
from fclip.catalog.rows import Refusal
from fclip.catalog.sources.cells import cell_text
from fclip.catalog.sources.files import ImageFolder, describe_folder, require_folder
from fclip.mirror.addresses import address_in, is_remote, web_fault
from fclip.mirror.outside import Outside

MAX_IMAGES = 256  # of a product


def image_names(source: TableSource, cell: object) -> list[str] | Refusal:
    """The names in a cell, the primary one first; a refusal when there are too many."""
    cells: list[object]
    if isinstance(cell, list | tuple):
        cells = list(cell)
    elif isinstance(cell, str) and source.image_separator:
        cells = list(cell.split(source.image_separator))
    else:
        cells = [cell]
    if len(cells) > MAX_IMAGES:
        return Refusal("read", "too many images", f"{len(cells)}, {MAX_IMAGES} at most")
    return [name + source.image_suffix for name in map(cell_text, cells) if name]


def describe_images(source: TableSource, outside: Outside, names: Iterable[str]) -> dict[str, object]:
    """What a pin holds of the images: the folder's listing, or what every address that `names` name gives now."""
    if source.image_folder is not None and not is_remote(source.image_folder):
        return describe_folder(require_folder(outside.root / source.image_folder), outside.digests)
    return outside.images(_addresses(source, names)).describe()


def open_images(source: TableSource, outside: Outside, names: Iterable[str]) -> Callable[[str], Path | Refusal]:
    """What turns a name, one of `names`, into the file that holds the image, or says why there is none."""
    if source.image_folder is not None and not is_remote(source.image_folder):
        return ImageFolder(require_folder(outside.root / source.image_folder))
    images = outside.images(_addresses(source, names))

    def image(name: str) -> Path | Refusal:
        address = _address(source, name)
        return address if isinstance(address, Refusal) else images[address]

    return image


def _addresses(source: TableSource, names: Iterable[str]) -> Iterable[str]:
    return (address for name in names if isinstance(address := _address(source, name), str))


def _address(source: TableSource, name: str) -> str | Refusal:
    if source.image_folder is None:
        if fault := web_fault(name):
            reason = "image URL refused" if is_remote(name) else "image is no URL"
            return Refusal("read", reason, f"{name:.500}: {fault}")
        return name
    if is_remote(name):
        return Refusal("read", "image is a URL", f"{name:.500}: set image_folder to null where cells are URLs")
    return address_in(source.image_folder, name) or Refusal("read", "image outside the folder", name[:500])
