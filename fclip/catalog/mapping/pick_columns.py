"""The columns that may have one of fclip's names, found by their names and cells."""

import re
import shlex
from collections.abc import Collection, Sequence

from fclip.catalog.mapping.known_names import ALIASES, KNOWN_NAMES, name_key
from fclip.catalog.mapping.table_sample import TableSample
from fclip.catalog.reading.records import MAX_SHOWN
from fclip.errors import UserError

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
COLOUR_SHARE = 0.8  # of the names of Shopify's option that must be "Color"


def parse_map(options: Sequence[str], sample: TableSample) -> dict[str, tuple[str, ...]]:
    """The columns of `--map name=Column` options by fclip's names; an empty tuple where the column is left empty.

    A column is named as in the table, or in other case and spelling where that is not ambiguous. Only `image` may have
    several.

    Raises:
        UserError: an option without `=`, a name that cannot be one of fclip's, or no such column.
    """
    mapped: dict[str, tuple[str, ...]] = {}
    for option in options:
        name, equals, column = (part.strip() for part in option.partition("="))
        name = ALIASES.get(name.lower(), name.lower())
        if not equals or not name.isidentifier():
            raise UserError(f"--map {option}: write --map NAME=COLUMN, such as --map title=Name (empty: no column)")
        if not column:
            mapped[name] = ()
            continue
        if name in mapped and name != "image":
            raise UserError(f"--map gives `{name}` twice: only `image` may have several columns")
        mapped[name] = (*mapped.get(name, ()), _named(column, sample))
    return mapped


def candidates(name: str, sample: TableSample, taken: Collection[str] = ()) -> list[list[str]]:
    """The columns that may be `name`, in groups, the best first; columns of one group are as good as each other.

    Left out are columns without a value in the sample, those `taken`, columns of numbers for a category, and columns
    with the same cells as an earlier one of their group.
    """
    groups = []
    for names in KNOWN_NAMES[name]:
        keys = set(map(name_key, names))
        group: list[str] = []
        for column in sample.columns:
            values = sample.values(column)
            if name_key(column) not in keys or column in taken or not values:
                continue
            if name == "category" and all(map(is_number, values)):
                continue
            if not any(_same_cells(sample, column, other) for other in group):
                group.append(column)
        if group:
            groups.append(group)
    if name == "colour" and (option := shopify_colour_option(sample)):
        groups.append([option])
    return groups


def shopify_colour_option(sample: TableSample) -> str | None:
    """The column `OptionN Value` of a Shopify export whose `OptionN Name` is nearly always "Color"."""
    colour_words = {name_key(name) for names in KNOWN_NAMES["colour"] for name in names}
    by_key = {name_key(column): column for column in sample.columns}
    for number in (1, 2, 3):
        named, value = by_key.get(f"option{number}name"), by_key.get(f"option{number}value")
        options = sample.values(named) if named else []
        if value and options and sum(name_key(each) in colour_words for each in options) >= COLOUR_SHARE * len(options):
            return value
    return None


def is_number(text: str) -> bool:
    """Whether a cell is a plain number: 39.95, but not 39,95 or 39.95 EUR."""
    return _NUMBER.fullmatch(text) is not None


def listed(columns: Sequence[str]) -> str:
    """Columns for a message, the first of many."""
    shown = ", ".join(f"`{column:.80}`" for column in columns[:MAX_SHOWN])
    return shown if len(columns) <= MAX_SHOWN else f"{shown}, … ({len(columns)} columns)"


def map_flag(name: str, column: str) -> str:
    """The option that maps `name` to `column`, as it is typed in a shell."""
    return f"--map {shlex.quote(f'{name}={column}')}"


def _named(column: str, sample: TableSample) -> str:
    if column in sample.columns:
        return column
    if column in sample.repeated:
        raise UserError(f"the table has the column `{column:.80}` more than once: rename one of them")
    alike = [each for each in sample.columns if name_key(each) == name_key(column)]
    if len(alike) != 1:
        raise UserError(f"the table has no column `{column:.80}`: it has {listed(sample.columns)}")
    return alike[0]


def _same_cells(sample: TableSample, one: str, other: str) -> bool:
    return all(row.get(one) == row.get(other) for row in sample.rows)
