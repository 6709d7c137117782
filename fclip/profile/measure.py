"""Compute the profile of a dataset from its tables, which are read in batches and counted by Arrow."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fclip.errors import UserError
from fclip.files import read_json
from fclip.profile import histogram
from fclip.profile.histogram import Distribution, distribution
from fclip.profile.profile import CaptionProfile, Profile, TextProfile, ValueCounts

MAX_VALUES = 5000  # listed values per attribute
ROWS_AT_ONCE = 50_000
FILES = ("products.parquet", "images.parquet", "ingest.json")
SPLITS = ("train", "val", "test")
STATISTICS = ("brightness", "contrast", "saturation", "white_border")
IMAGE_MEASURES = ("short_side", "aspect_ratio", "kibibytes", *STATISTICS)


def measure_dataset(
    dataset: str,
    *,
    catalog_dir: Path,
    captions_path: Path,
    label: str | None = None,
    context_length: int | None = None,
) -> Profile:
    """Return the profile of a dataset on disk.

    Args:
        label: the attribute that names the classes.
        context_length: context length of the base model, in tokens.

    Raises:
        UserError: the dataset is not ingested or not captioned.
    """
    for path in (*(catalog_dir / name for name in FILES), captions_path):
        if not path.is_file():
            raise UserError(f"{path} does not exist; run `fclip stage caption@{dataset}` or `dvc pull`")
    counts = read_json(catalog_dir / "ingest.json")
    products = _measure_products(catalog_dir / "products.parquet", label)
    group_sizes, num_across = _measure_groups(catalog_dir / "products.parquet")
    return Profile(
        dataset=dataset,
        num_rows=counts["num_rows"],
        num_products=products.num,
        num_images=counts["num_images"],
        num_refused=counts["num_refused"],
        refused_by_reason=counts["refused_by_reason"],
        repaired=counts.get("repaired", {}),
        splits=products.splits,
        label=label,
        classes=products.classes,
        attributes=products.attributes,
        texts=products.texts,
        captions=_measure_captions(captions_path, products.num),
        context_length=context_length,
        images=_measure_images(catalog_dir / "images.parquet"),
        images_per_product=products.images,
        group_sizes=group_sizes,
        num_groups_across_splits=num_across,
    )


def ordered_splits(splits: Mapping[str, Any]) -> list[str]:
    """Return the names of the splits: train, val, test, then hold-outs by name."""
    return [name for name in SPLITS if name in splits] + sorted(set(splits) - set(SPLITS))


@dataclass(frozen=True)
class _Products:
    num: int
    splits: dict[str, int]
    attributes: dict[str, ValueCounts]
    classes: dict[str, dict[str, int]]
    texts: dict[str, TextProfile]
    images: Distribution


@dataclass(frozen=True)
class _Lengths:
    """Arrays of lengths by name, collected batch by batch."""

    parts: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))

    def joined(self) -> dict[str, np.ndarray]:
        return {name: np.concatenate(self.parts[name]) for name in sorted(self.parts)}


def _measure_products(path: Path, label: str | None) -> _Products:
    num, splits, counted = 0, Counter[str](), []
    characters, images = _Lengths(), []
    for batch in _batches(path, ["split", "attributes", "texts", "images"]):
        num += batch.num_rows
        splits.update({entry["values"].as_py(): entry["counts"].as_py() for entry in pc.value_counts(batch["split"])})
        counted.append(_counted(batch))
        names, texts, _ = _entries(batch["texts"])
        for name in pc.unique(names).to_pylist():
            lengths = pc.utf8_length(texts.filter(pc.equal(names, name)))
            characters.parts[name].append(lengths.to_numpy(zero_copy_only=False))
        images.append(pc.list_value_length(batch["images"]).to_numpy(zero_copy_only=False))
    by_split = _summed(pa.concat_tables(counted), ["name", "value", "split"]) if counted else _NO_COUNTS
    label_counts = by_split.filter(pc.equal(by_split["name"], label or ""))
    classes: dict[str, dict[str, int]] = defaultdict(dict)
    for row in label_counts.sort_by("split").to_pylist():
        classes[row["value"]][row["split"]] = row["number"]
    return _Products(
        num=num,
        splits={name: splits[name] for name in ordered_splits(splits)},
        attributes=_values(_summed(by_split, ["name", "value"]), num),
        classes=dict(sorted(classes.items())),
        texts={
            name: TextProfile(num - len(lengths), distribution(lengths, histogram.CHARACTERS))
            for name, lengths in characters.joined().items()
        },
        images=distribution(np.concatenate(images) if images else np.empty(0), histogram.FEW),
    )


_NO_COUNTS = pa.table({"name": pa.array([], pa.string()), "value": pa.array([], pa.string()),
                     "split": pa.array([], pa.string()), "number": pa.array([], pa.int64())})  # fmt: skip


def _counted(batch: pa.RecordBatch) -> pa.Table:
    """Return a table of (name, value, split, number of products) for the attributes of a batch."""
    names, values, rows = _entries(batch["attributes"])
    table = pa.table({"name": names, "value": values, "split": batch["split"].take(rows)})
    counted = table.group_by(["name", "value", "split"]).aggregate([([], "count_all")])
    return counted.rename_columns({"count_all": "number"}).select(_NO_COUNTS.column_names)


def _summed(counted: pa.Table, keys: list[str]) -> pa.Table:
    return counted.group_by(keys).aggregate([("number", "sum")]).rename_columns({"number_sum": "number"})


def _values(counted: pa.Table, num_products: int) -> dict[str, ValueCounts]:
    values = {}
    for name in sorted(pc.unique(counted["name"]).to_pylist()):
        rows = counted.filter(pc.equal(counted["name"], name)).sort_by(
            [("number", "descending"), ("value", "ascending")]
        )
        listed = rows.slice(0, MAX_VALUES)
        total, in_list = (pc.sum(table["number"]).as_py() or 0 for table in (rows, listed))
        counts = dict(zip(listed["value"].to_pylist(), listed["number"].to_pylist(), strict=True))
        values[name] = ValueCounts(rows.num_rows, num_products - total, total - in_list, counts)
    return values


def _measure_groups(path: Path) -> tuple[Distribution, int]:
    """Return the sizes of the groups, and the number of groups in more than one split."""
    groups = pq.read_table(path, columns=["group_id", "split"]).group_by("group_id")
    counted = groups.aggregate([([], "count_all"), ("split", "count_distinct")])
    across = pc.sum(pc.greater(counted["split_count_distinct"], 1)).as_py() or 0
    return distribution(counted["count_all"].to_numpy(), histogram.FEW), across


def _measure_captions(path: Path, num_products: int) -> dict[str, CaptionProfile]:
    tokens, truncated, captioned = _Lengths(), Counter[str](), Counter[str]()
    for batch in _batches(path, ["captions"]):
        entries, rows = pc.list_flatten(batch["captions"]), pc.list_parent_indices(batch["captions"])
        kinds, cut = pc.struct_field(entries, "kind"), pc.struct_field(entries, "truncated")
        for kind in pc.unique(kinds).to_pylist():
            of_kind = pc.equal(kinds, kind)
            lengths = pc.struct_field(entries, "num_tokens").filter(of_kind)
            tokens.parts[kind].append(lengths.to_numpy(zero_copy_only=False))
            truncated[kind] += pc.sum(cut.filter(of_kind)).as_py() or 0
            captioned[kind] += pc.count_distinct(rows.filter(of_kind)).as_py()
    return {
        kind: CaptionProfile(num_products - captioned[kind], truncated[kind], distribution(lengths, histogram.TOKENS))
        for kind, lengths in tokens.joined().items()
    }


def _measure_images(path: Path) -> dict[str, Distribution]:
    table = pq.read_table(path, columns=["source_width", "source_height", "num_bytes", *STATISTICS])
    column = {name: table[name].to_numpy() for name in table.column_names}
    width, height = column["source_width"], column["source_height"]
    return {
        "short_side": distribution(np.minimum(width, height), histogram.PIXELS),
        "aspect_ratio": distribution(width / np.maximum(height, 1), histogram.ASPECT),
        "kibibytes": distribution(column["num_bytes"] / 1024, histogram.KIBIBYTES),
        **{name: distribution(column[name], histogram.SHARE) for name in STATISTICS},
    }


def _entries(column: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return the non-null entries of a map column: names, values, and the row of each."""
    lists = column.cast(pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())])))
    entries, rows = pc.list_flatten(lists), pc.list_parent_indices(lists)
    names, values = pc.struct_field(entries, "key"), pc.struct_field(entries, "value")
    present = pc.is_valid(values)
    return names.filter(present), values.filter(present), rows.filter(present)


def _batches(path: Path, columns: list[str]) -> Any:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(ROWS_AT_ONCE, columns=columns)
