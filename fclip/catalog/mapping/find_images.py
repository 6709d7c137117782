"""How the cells of a table name images: files of a folder or URLs, the suffix left out, several in a cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from fclip.catalog.mapping.table_sample import TableSample
from fclip.catalog.reading.files import image_file
from fclip.catalog.reading.merged_rows import image_cells
from fclip.catalog.reading.records import cell_text
from fclip.mirror.addresses import is_remote, web_fault

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG")
SEPARATORS = ("|", ";", ",", " ")
MAX_FOLDERS = 50  # beside the table that are looked into
ENOUGH_FILES = 0.5  # of the rows
NUM_TRIED = 40  # rows by which one way to read the cells is compared with another


@dataclass(frozen=True)
class ImageLookup:
    """How images are found, and of how many sampled rows.

    Attributes:
        columns: the columns that name images, that of the primary image first.
        folder: the folder's path or remote address; None where cells are URLs.
        suffix: what is added to a cell's names.
        separator: what stands between several names in a cell; None: a cell is one name, or a list.
        num_rows: sampled rows whose cells name an image.
        num_found: of these, rows whose images are all there, or are http and https addresses; None: not checked.
        example: an image that is not there, and why not.
    """

    columns: tuple[str, ...]
    folder: str | None
    suffix: str = ""
    separator: str | None = None
    num_rows: int = 0
    num_found: int | None = None
    example: str = ""

    @property
    def share(self) -> float:
        """The share of the rows whose images are there; 0 where none names an image, 1 where that is not checked."""
        return 1.0 if self.num_found is None else self.num_found / max(self.num_rows, 1)


def find_images(
    sample: TableSample, columns: Sequence[str], more: Sequence[str], folders: Sequence[Path], remote: str | None
) -> ImageLookup:
    """The best way to find images by one of `columns`.

    Args:
        columns: candidates for the column of the primary image, the best first.
        more: columns that name further images; taken in if then no fewer rows have all their images.
        folders: where to look for files, the best first; of equal ones the first is taken.
        remote: the address of the folder, which is not asked; None for local folders.
    """
    if remote is not None:
        return ImageLookup((columns[0], *more), remote, num_rows=len(sample.values(columns[0])))
    found: list[ImageLookup] = []
    for column in columns:
        if has_urls(sample, column):
            found += [_lookup(sample, (column,), None, "", separator) for separator in _separators(sample, (column,))]
        else:
            found += [_in_folder(sample, (column,), folder) for folder in folders]
    best = max(found, key=_merit, default=ImageLookup((columns[0],), None, num_found=0))  # the first of equals
    wider = best
    for column in more:
        if (column in best.columns) or has_urls(sample, column) != (best.folder is None):
            continue
        wider = max([wider, *_with_more(sample, wider, column)], key=lambda lookup: (lookup.num_found, lookup.columns))
    return wider


def _merit(lookup: ImageLookup) -> tuple[bool, float]:
    """Files that are there come before addresses, which must be downloaded."""
    return lookup.folder is not None and lookup.share >= ENOUGH_FILES, lookup.share


def has_urls(sample: TableSample, column: str) -> bool:
    """Whether most of a column's cells are http or https addresses."""
    values = sample.values(column)
    return 2 * sum(value.lower().startswith(("http://", "https://")) for value in values) > len(values)


def folders_beside(table: Path) -> list[Path]:
    """The table's folder and the folders in it, in which images may be where none are named."""
    own = table.parent
    inner = sorted(entry for entry in own.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return [own, *inner[:MAX_FOLDERS]]


def _with_more(sample: TableSample, lookup: ImageLookup, column: str) -> list[ImageLookup]:
    """Ways to read one column more that lose no row."""
    columns = (*lookup.columns, column)
    separators = [lookup.separator] if lookup.separator else _separators(sample, columns)
    found = [_lookup(sample, columns, lookup.folder, lookup.suffix, separator) for separator in separators]
    return [each for each in found if each.num_found == each.num_rows or each.share >= lookup.share]


def _in_folder(sample: TableSample, columns: tuple[str, ...], folder: Path) -> ImageLookup:
    """The best of all suffixes and separators, found out by a few rows."""
    few = TableSample(sample.columns, _spread(sample, columns), sample.num_rows)
    ways = product(_separators(few, columns), ("", *SUFFIXES))
    tried = [_lookup(few, columns, str(folder), suffix, separator) for separator, suffix in ways]
    best = max(tried, key=lambda lookup: lookup.share)
    return _lookup(sample, columns, str(folder), best.suffix, best.separator)


def _spread(sample: TableSample, columns: Sequence[str]) -> tuple[Mapping[str, object], ...]:
    rows = [row for row in sample.rows if any(cell_text(row.get(column)) for column in columns)]
    return tuple(rows[:: max(1, len(rows) // NUM_TRIED)])


def _separators(sample: TableSample, columns: Sequence[str]) -> list[str | None]:
    """No separator, then those that occur in the cells."""
    values = [value for column in columns for value in sample.values(column)]
    return [None, *(separator for separator in SEPARATORS if any(separator in value for value in values))]


def _lookup(
    sample: TableSample, columns: tuple[str, ...], folder: str | None, suffix: str, separator: str | None
) -> ImageLookup:
    resolved = None if folder is None else Path(folder).resolve()
    num_rows = num_found = 0
    example = ""
    for row in sample.rows:
        names = [
            name + suffix
            for column in columns
            for part in image_cells(row.get(column), separator)
            if (name := cell_text(part))
        ]
        if not names:
            continue
        num_rows += 1
        faults = [fault for name in names if (fault := _fault(name, resolved))]
        num_found += not faults
        example = example or (faults[0] if faults else "")
    return ImageLookup(columns, folder, suffix, separator, num_rows, num_found, example)


def _fault(name: str, folder: Path | None) -> str | None:
    """Why there is no image of this name, or at this address, as far as it can be seen without the network."""
    if folder is None:
        # A second address in it: the cell names several.
        several = name.count("http://") + name.count("https://") > 1
        return web_fault(name) or ("several addresses" if several else None)
    if is_remote(name):
        return f"{name:.200} is a URL"
    found = image_file(folder, name)
    return None if isinstance(found, Path) else found.detail or found.reason
