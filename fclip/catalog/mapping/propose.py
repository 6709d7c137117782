"""The proposed mapping of a table: its columns under fclip's names, the identity of its rows, and its images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fclip.catalog.mapping.find_images import ENOUGH_FILES, ImageLookup, find_images
from fclip.catalog.mapping.known_names import KNOWN_NAMES, STRUCTURE, TEXTS, names_more_images
from fclip.catalog.mapping.language import Language
from fclip.catalog.mapping.pick_columns import candidates, is_number, listed, map_flag, parse_map
from fclip.catalog.mapping.row_identity import CountIds, RowIdentity, identify_rows
from fclip.catalog.mapping.table_sample import TableSample
from fclip.errors import UserError

LABELS = ("category", "colour", "brand", "gender")
"""Attributes whose values may be the classes of zero-shot classification, the best first."""
SLICES = ("category", "colour", "gender", "brand")
FEW_IMAGES = 0.9  # of the rows; an ingest with more than 0.1 of refused rows stops


@dataclass(frozen=True)
class ProposedMapping:
    """A mapping of a table's columns to fclip's names.

    Attributes:
        table: the table's absolute path or remote address.
        product_id, parent_id: columns.
        images: how images are found.
        merge_rows: consecutive rows with the same id are one product.
        texts, attributes: columns by fclip's names.
        types: attributes that are numbers.
        label: the attribute whose values are classes; None where no attribute can be.
        num_products: products of the table.
        ignored: columns that are not used.
        notes: sentences that a user should read.
        language: the language of the texts where that is not English.
    """

    table: str
    product_id: str
    images: ImageLookup
    texts: Mapping[str, str]
    attributes: Mapping[str, str]
    num_products: int
    parent_id: str | None = None
    merge_rows: bool = False
    types: Mapping[str, str] | None = None
    label: str | None = None
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    language: Language | None = None

    @property
    def slices(self) -> tuple[str, ...]:
        """The attributes by which evaluations are sliced."""
        return tuple(name for name in SLICES if name in self.attributes)

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Our names with their columns, in the order in which people read them."""
        rows = [("product_id", self.product_id)]
        rows += [("parent_id", self.parent_id)] if self.parent_id is not None else []
        rows += [("image", column) for column in self.images.columns]
        return [*rows, *self.texts.items(), *self.attributes.items()]


def propose_mapping(
    sample: TableSample,
    *,
    table: str,
    count: CountIds,
    folders: Sequence[Path],
    remote_images: str | None = None,
    options: Sequence[str] = (),
) -> ProposedMapping:
    """Propose the mapping of a table.

    Args:
        table: the table's absolute path or remote address.
        count: gives the counts of a column's ids over the whole table.
        folders: local folders in which images may be, the best first.
        remote_images: the address of the folder of images; None for local ones and URLs.
        options: `name=Column` as in `--map`.

    Raises:
        UserError: a column is missing or could be one of several; the message has all faults and the flags that solve
            them.
    """
    given = parse_map(options, sample)
    picked = _Picked(sample, given)
    picked.pick("title")
    identity = _identity(sample, picked, count)
    if isinstance(identity, RowIdentity):
        picked.taken.add(identity.column)
        picked.pick("parent_id", [column for column in identity.repeating if column not in picked.taken][:1])
    images = _images(sample, picked, identity, folders, remote_images)
    for name in ("description", "category", "colour", "gender", "brand", "price"):
        picked.pick(name)
    if not picked.columns.keys() & {"title", "description", "category", "colour"} and not picked.ambiguous:
        picked.faults.append(
            "no column has a usual name for the title, the description, the category or the colour, so no caption can "
            "be made: name one with --map title=COLUMN"
        )
    if picked.faults:
        faults = "\n".join(f"  {fault}" for fault in picked.faults)
        raise UserError(f"no workspace is created from {table}:\n{faults}\nThe table has {listed(sample.columns)}.")
    assert isinstance(identity, RowIdentity)
    assert images is not None
    texts = {name: column for name, column in picked.columns.items() if name in TEXTS}
    attributes = {name: column for name, column in picked.columns.items() if name not in (*TEXTS, *STRUCTURE)}
    used = {identity.column, *images.columns, *picked.columns.values()}
    numbers = {name: "number" for name in ("price",) if name in attributes and _is_numeric(sample, attributes[name])}
    return ProposedMapping(
        table=table,
        product_id=identity.column,
        images=images,
        texts=texts,
        attributes=attributes,
        num_products=identity.num_products,
        parent_id=picked.columns.get("parent_id"),
        merge_rows=identity.merge_rows,
        types=numbers or None,
        label=next((name for name in LABELS if name in attributes and _has_classes(sample, attributes[name])), None),
        ignored=tuple(column for column in sample.columns if column not in used),
        notes=(*identity.notes, *_notes(sample, images, identity, attributes), *picked.notes),
    )


class _Picked:
    """The columns picked so far, and the faults of the table."""

    def __init__(self, sample: TableSample, given: Mapping[str, tuple[str, ...]]) -> None:
        self.sample, self.given = sample, given
        self.columns: dict[str, str] = {}
        self.taken = {column for columns in given.values() for column in columns}
        self.faults: list[str] = []
        self.notes: list[str] = []
        self.ambiguous = False
        for name, columns in given.items():
            if columns and name not in KNOWN_NAMES:
                self.columns[name] = columns[0]

    def pick(self, name: str, otherwise: Sequence[str] = ()) -> None:
        """Pick the column of `name`: the given one, the one with a usual name, or the first of `otherwise`."""
        if name in self.given:
            self.columns.update((name, column) for column in self.given[name])
            return
        groups = candidates(name, self.sample, self.taken) or [[column] for column in otherwise]
        if not groups:
            return
        if len(groups[0]) > 1:
            self.ambiguous = True
            self.faults.append(ambiguity(name, groups[0]))
            return
        self.columns[name] = groups[0][0]
        self.taken.add(groups[0][0])


def ambiguity(name: str, columns: Sequence[str]) -> str:
    """That several columns may be `name`, and the flags that choose one, or none."""
    return (
        f"{listed(columns)} could equally be the {name}: choose one with {map_flag(name, columns[0])}, or none with "
        f"{map_flag(name, '')}"
    )


def _identity(sample: TableSample, picked: _Picked, count: CountIds) -> RowIdentity | None:
    given = picked.given.get("product_id")
    found = (
        "--map product_id= leaves no column, but every product needs an id: name one"
        if given == ()
        else identify_rows(sample, count, given[0] if given else None)
    )
    if isinstance(found, RowIdentity):
        return found
    picked.faults.append(found)
    return None


def _images(
    sample: TableSample,
    picked: _Picked,
    identity: RowIdentity | None,
    folders: Sequence[Path],
    remote: str | None,
) -> ImageLookup | None:
    """How images are found; None with a fault in `picked`."""
    given = picked.given.get("image")
    if given == ():
        picked.faults.append("--map image= leaves no column, but every product needs an image: name one")
        return None
    if given:
        columns, more = [given[0]], list(given[1:])
        groups = [columns]
    else:
        groups = candidates("image", sample, picked.taken)
        columns = [column for group in groups for column in group]
        more = [column for column in sample.columns if names_more_images(column) and column not in picked.taken]
        more = [column for column in more if sample.values(column)]
    if inside := next((column for column in columns if _has_bytes(sample, column)), None):
        picked.faults.append(
            f"`{inside}` has the images themselves, and a table must name files or URLs: describe such a file as a "
            "source of kind `hub` in params.yaml (`fclip workspace new`)"
        )
        return None
    lookup = find_images(sample, columns, more, folders, remote) if columns else None
    if identity is not None and not given and (lookup is None or (not remote and lookup.share < ENOUGH_FILES)):
        by_id = find_images(sample, [identity.column], [], folders, remote)
        lookup = by_id if by_id.share > (lookup.share if lookup else 0) else lookup
    if lookup is None or not lookup.share:
        picked.faults.append(_no_images(columns, lookup, folders))
        return None
    group = next((group for group in groups if lookup.columns[0] in group), [])
    alike = [column for column in group if find_images(sample, [column], [], folders, remote).share >= lookup.share]
    if len(alike) > 1 and remote is None:
        picked.faults.append(ambiguity("image", alike).partition(", or none")[0])
        return None
    picked.taken.update(lookup.columns)
    if left := [column for column in more if column not in lookup.columns]:
        picked.notes.append(f"Further images of {listed(left)} are not used: they cannot be read like the first ones.")
    return lookup


def _no_images(columns: Sequence[str], lookup: ImageLookup | None, folders: Sequence[Path]) -> str:
    if lookup is None:
        return (
            "no column has a usual name for the image, and no file in the folder is named by the product id: name the "
            "column with --map image=COLUMN, or the folder of the files with --images DIR"
        )
    if not folders:
        return f"{listed(columns)} names no image URLs: name the folder of the files with --images DIR"
    where = str(folders[0])
    if len(folders) > 1:
        where += f" or {folders[1]}" if len(folders) == 2 else f" or the {len(folders) - 1} folders in it"
    example = f" (`{lookup.example:.200}`)" if lookup.example else ""
    return (
        f"no sampled image of {listed(columns)} is in {where}{example}: name the folder with --images DIR, or "
        "another column with --map image=COLUMN"
    )


def _notes(sample: TableSample, images: ImageLookup, identity: RowIdentity, attributes: Mapping[str, str]) -> list[str]:
    notes = []
    if sample.num_unreadable:
        notes.append(f"Rows that cannot be read: {sample.num_unreadable:,}. The ingest refuses them.")
    if sample.repeated:
        notes.append(f"{listed(sample.repeated)} is the name of several columns, so it is not used: rename them.")
    if images.share < FEW_IMAGES:
        notes.append(f"Many images are missing ({images.example:.200}): the ingest refuses rows with a missing image.")
    without = len(sample.rows) - images.num_rows
    if without and not identity.merge_rows:
        notes.append(f"Sampled rows without an image: {without} of {len(sample.rows)}. The ingest refuses them.")
    if "category" in attributes:
        values = sample.values(attributes["category"])
        if 2 * sum(" > " in value for value in values) > len(values):
            notes.append("Categories are paths (a > b > c): a column with the last part alone makes better captions.")
    if identity.merge_rows and "colour" in attributes and attributes["colour"].lower().startswith("option"):
        notes.append("A product's colour is that of its first variant.")
    return notes


def _has_bytes(sample: TableSample, column: str) -> bool:
    return any(isinstance(row.get(column), bytes | Mapping) for row in sample.rows)


def _is_numeric(sample: TableSample, column: str) -> bool:
    return all(map(is_number, sample.values(column)))


def _has_classes(sample: TableSample, column: str) -> bool:
    """Whether a column has at least two values, and few enough that most of them occur again."""
    values = sample.values(column)
    return 2 <= len(set(values)) <= len(values) / 2
