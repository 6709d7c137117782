"""Show profiles in the terminal, within 100 columns."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fclip.pages.wording import counted, number, percent
from fclip.profile.classes import class_balance
from fclip.profile.histogram import Distribution
from fclip.profile.measure import ordered_splits
from fclip.profile.profile import Profile

BLOCKS = " ▁▂▃▄▅▆▇█"
BAR = 22  # characters of the longest bar
CLASSES, VALUES, NAMES = 8, 4, 6
VALUES_WIDTH, NAME_WIDTH = 52, 20  # characters
MEASURES = {
    "short_side": "shorter side, px",
    "aspect_ratio": "width / height",
    "kibibytes": "stored size, KiB",
    "white_border": "white border",
}


def overview(profiles: Iterable[Profile]) -> Table:
    """Return a table with one line per dataset: products, refused rows, splits, classes, truncated captions."""
    table = _table("dataset", "products", "images", "refused", "repaired", "splits", "classes", "truncated")
    for profile in profiles:
        balance = class_balance(profile)
        captions = profile.captions.values()
        truncated = sum(each.num_truncated for each in captions) / max(1, sum(each.tokens.num for each in captions))
        _add(
            table,
            profile.dataset,
            f"{profile.num_products:,}",
            f"{profile.num_images:,}",
            _share(profile.num_refused, profile.num_rows),
            f"{sum(profile.repaired.values()):,}",
            ", ".join(f"{split} {profile.splits[split]:,}" for split in ordered_splits(profile.splits)),
            f"{len(balance.classes)}" if balance else "–",
            percent(truncated),
        )
    return table


def details(profile: Profile) -> RenderableType:
    """Return the whole profile, about two screens long."""
    parts = [_head(profile), _classes(profile), _attributes(profile), _texts(profile), _images(profile)]
    return Group(*(Padding(part, (0, 0, 1, 0)) for part in parts if part is not None))


def _head(profile: Profile) -> Table:
    splits = (f"{name} {_share(profile.splits[name], profile.num_products)}" for name in ordered_splits(profile.splits))
    sizes, across = profile.group_sizes, profile.num_groups_across_splits
    groups = f"{sizes.num:,}, the largest of {counted(int(sizes.maximum or 0), 'product')}; "
    groups += f"{across:,} IN MORE THAN ONE SPLIT" if across else "none in more than one split"
    images = counted(profile.num_images, "distinct image")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    _add(table, profile.dataset, f"{counted(profile.num_products, 'product')} with {images}")
    _add(table, "splits", " · ".join(splits))
    _add(table, "groups", groups, style="red" if across else None)
    _add(table, "refused", f"{_share(profile.num_refused, profile.num_rows)}{_listed(profile.refused_by_reason)}")
    _add(table, "repaired", f"{counted(sum(profile.repaired.values()), 'cell')}{_listed(profile.repaired)}")
    return table


def _classes(profile: Profile) -> RenderableType | None:
    balance = class_balance(profile)
    if balance is None:
        return None
    splits = ordered_splits(profile.splits)
    heading = f"{counted(len(balance.classes), 'class')} by {balance.label}"
    table = _table(heading, "products", "", *splits)
    table.columns[2].justify = "left"
    shown = list(balance.classes[:CLASSES])
    if len(balance.classes) > CLASSES:
        shown.append(balance.classes[-1])
    for each in shown:
        if each is shown[-1] and len(balance.classes) > CLASSES + 1:
            _add(table, f"… {counted(len(balance.classes) - CLASSES - 1, 'more class')}", style="dim")
        length = max(1, round(BAR * each.num / balance.classes[0].num))
        counts = (f"{each.splits.get(split, 0):,}" for split in splits)
        _add(table, _cut(each.name, NAME_WIDTH), f"{each.num:,}", Text("█" * length, style="cyan"), *counts)
    notes = []
    if balance.num_missing:
        notes.append(f"{counted(balance.num_missing, 'product')} without a class")
    if balance.missing_from_train:
        notes.append(f"in val or test but not in train: {_named(balance.missing_from_train)}")
    return Group(table, *(Text(note, style="yellow") for note in notes))


def _attributes(profile: Profile) -> Table | None:
    if not profile.attributes:
        return None
    table = _table("attribute", "missing", "values", "most frequent")
    table.columns[3].justify = "left"
    for name, values in profile.attributes.items():
        frequent = [f"{v} {percent(num / profile.num_products)}" for v, num in values.most_frequent(VALUES)]
        while len(frequent) > 1 and len(", ".join(frequent)) > VALUES_WIDTH:
            frequent.pop()
        frequent_text = _cut(", ".join(frequent), VALUES_WIDTH)
        missing = _missing(values.num_missing, profile)
        _add(table, _cut(name, NAME_WIDTH), missing, f"{values.num_distinct:,}", frequent_text)
    return table


def _texts(profile: Profile) -> Table:
    context = f" of {profile.context_length}" if profile.context_length else ""
    table = _table("text or caption", "missing", "truncated", "min", "median", "max", "", "")
    table.columns[-1].justify = table.columns[-2].justify = "left"
    for name, text in profile.texts.items():
        _add(table, name, _missing(text.num_missing, profile), "–", *_range_cells(text.characters), "characters")
    for kind, captions in profile.captions.items():
        truncated = percent(captions.num_truncated / captions.tokens.num)
        unit = f"tokens{context}"
        _add(
            table,
            f"caption {kind}",
            _missing(captions.num_missing, profile),
            truncated,
            *_range_cells(captions.tokens),
            unit,
        )
    return table


def _images(profile: Profile) -> Table:
    table = _table("image", "min", "median", "max", "")
    table.columns[-1].justify = "left"
    for name, measured in profile.images.items():
        _add(table, MEASURES.get(name, name), *_range_cells(measured))
    return table


def _range_cells(distribution: Distribution) -> tuple[str, str, str, Text]:
    line = Text(sparkline(distribution), style="cyan")
    return number(distribution.minimum), number(distribution.median), number(distribution.maximum), line


def sparkline(distribution: Distribution) -> str:
    """Return one character per bin, as high as its share of the fullest bin. Only empty bins are blank."""
    counts = distribution.histogram.counts
    most = max(counts)
    return "".join(BLOCKS[-(-count * (len(BLOCKS) - 1) // most)] for count in counts) if most else ""


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i == 0 else "right", no_wrap=heading != "splits")
    return table


def _add(table: Table, *cells: str | Text, style: str | None = None) -> None:
    """Add a row of plain text: catalog values must not be read as rich markup or terminal control codes."""
    plain = (
        Text("".join(char if char.isprintable() else "�" for char in cell)) if isinstance(cell, str) else cell
        for cell in cells
    )
    table.add_row(*plain, style=style)


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({percent(part / whole)})" if part and whole else f"{part:,}"


def _missing(num: int, profile: Profile) -> str:
    return percent(num / profile.num_products) if num else "none"


def _listed(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ": " + " · ".join(f"{what} {num:,}" for what, num in rows)


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return ", ".join(names[:NAMES]) + more


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
