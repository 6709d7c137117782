"""What all sides train on: the same products as a table with packs, as files named in a CSV, and as shards."""

import csv
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.ingest.inputs import write_ingest_input
from fclip.captions.table import CAPTION
from fclip.export.webdataset import export_shards
from fclip.files import sha256_bytes
from fclip.images.packs import PackWriter, StoredImage

DATASET = "kagl"
SHARDS = 64  # at least: each of open_clip's workers takes whole ones
TAR_BYTES = 2560  # headers and fillings of a sample, at least
SPARE = 1.02  # rows without an image or a title are left out
SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("product_id", pa.string()),
        ("split", pa.string()),
        ("images", pa.list_(pa.string())),
        ("captions", pa.list_(CAPTION)),
        ("category", pa.string()),
    ]
)


@dataclass(frozen=True)
class TrainingInput:
    """Products with one image and one caption each.

    Attributes:
        products, packs: as fclip reads them; a split `val` is in them too, which fclip cannot train without.
        csv: of the columns `filepath` and `title`, separated by tabs; shards: a folder of `*.tar` and `sizes.json`.
        num_products: that are trained on.
    """

    products: Path
    packs: Path
    csv: Path
    shards: Path
    num_products: int


def write_training_input(datasets: Path, folder: Path, *, num_products: int, num_validation: int) -> TrainingInput:
    """Lay `num_products` of kagl out in `folder`, spread over the dataset, and so many more to validate on.

    Where it has not as many, they come again as other products with the same images.

    Raises:
        UserError: kagl is not there.
    """
    wanted = num_products + num_validation
    files = write_ingest_input(DATASET, datasets, folder / "files", round(wanted * SPARE) + 1)
    table = pq.read_table(files.table, columns=["image", "caption"])
    named = [
        (files.images / image, caption)
        for image, caption in zip(table["image"].to_pylist(), table["caption"].to_pylist(), strict=True)
        if caption.strip()
    ]
    named = list(itertools.islice(itertools.cycle(named), wanted))
    rows = []
    num_bytes = 0
    with PackWriter(folder / "packs") as writer:
        for number, (path, caption) in enumerate(named):
            content = path.read_bytes()
            width, height = Image.open(BytesIO(content)).size
            image = StoredImage(sha256_bytes(content), content, width, height)
            writer.add(image)
            training = number < num_products
            num_bytes += len(content) if training else 0
            rows.append(
                {
                    "dataset": DATASET,
                    "product_id": f"{number:06d}",
                    "split": "train" if training else "val",
                    "images": [image.sha256],
                    "captions": [{"kind": "title", "text": caption, "num_tokens": 0, "truncated": False}],
                    "category": None,
                }
            )
    products = folder / "products.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), products)
    _write_csv(folder / "products.tsv", named[:num_products])
    export_shards(
        products,
        lambda name: folder / "packs",
        folder / "shards",
        split="train",
        kind="title",
        max_bytes=(num_bytes + TAR_BYTES * num_products) // SHARDS,
    )
    return TrainingInput(products, folder / "packs", folder / "products.tsv", folder / "shards", num_products)


def _write_csv(path: Path, named: Sequence[tuple[Path, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["filepath", "title"])
        writer.writerows(named)
