"""Export of training products as WebDataset shards, for open_clip's training and the package `webdataset`.

A sample is one image: `<key>.jpg` or `<key>.png` (the stored bytes), `<key>.txt` (one caption) and `<key>.json` (its
metadata), in the layout of img2dataset. Samples are sorted by digest, so that every shard is a random part of the data:
training shuffles whole shards and only few samples within them. `sizes.json` contains the number of samples of each
shard, from which open_clip computes the length of an epoch.

The same products give the same bytes.
"""

import io
import itertools
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from fclip.errors import UserError
from fclip.files import atomic_dir, is_occupied, sha256_bytes, write_json
from fclip.images.packs import ImagePacks
from fclip.progress import progress

SIZES = "sizes.json"
READ_BATCH_SIZE = 256
SUFFIXES = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png"}  # the formats that ingest stores
BLOCK = 512  # bytes of a tar block: a header is one block, and content is padded to whole blocks

Members = list[tuple[str, bytes]]
"""The files of one sample, as (name, content)."""


@dataclass(frozen=True)
class Sample:
    """One image of a product, by its digest, with one caption. `captions` contains all captions by kind."""

    dataset: str
    product_id: str
    image: str
    caption: str
    captions: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class ExportSummary:
    """The result of an export.

    Attributes:
        sizes: shard -> number of samples. num_left_out: number of products without an image or a caption.
    """

    sizes: Mapping[str, int]
    num_left_out: int

    @property
    def num_samples(self) -> int:
        return sum(self.sizes.values())


def export_shards(
    products: Path, images: Callable[[str], Path], out_dir: Path, *, split: str, kind: str, max_bytes: int
) -> ExportSummary:
    """Write the products of a split to shards of at most `max_bytes`. A larger sample gets a shard of its own.

    Args:
        products: Parquet file with the columns `dataset, product_id, split, images, captions`.
        images: a function from a dataset's name to the folder of its image packs.
        out_dir: missing or empty; it appears complete or not at all.
        kind: the kind of caption in `.txt`. Products without this kind use their first caption.

    Raises:
        UserError: `out_dir` is not empty, the products are missing, no product is in the split or has a caption of this
            kind, or an image is in no pack.
    """
    if is_occupied(out_dir):
        raise UserError(f"{out_dir} is not empty; name a new folder or empty this one")
    samples, num_left_out = read_samples(products, split, kind)
    datasets = sorted({sample.dataset for sample in samples})
    packs = ImagePacks([images(name) for name in datasets])
    with atomic_dir(out_dir) as temporary:
        sizes = {}
        for number, shard in enumerate(_shards(_members(samples, packs), max_bytes)):
            name = f"{number:05d}.tar"
            _write_tar(temporary / name, shard)
            sizes[name] = len(shard)
        write_json(temporary / SIZES, sizes)
    return ExportSummary(sizes, num_left_out)


def read_samples(products: Path, split: str, kind: str) -> tuple[list[Sample], int]:
    """Return a sample for every image of the split's products, sorted by digest, and the number of products left out.

    Raises:
        UserError: the file is missing, or it has nothing to export.
    """
    if not products.is_file():
        raise UserError(f"{products} does not exist; run `dvc pull` or `dvc repro gather`")
    table = pq.read_table(products, columns=["dataset", "product_id", "split", "images", "captions"])
    splits = sorted(set(table["split"].to_pylist()))
    rows = table.filter(pc.equal(table["split"], split)).to_pylist()
    if not rows:
        raise UserError(
            f"{products} has no product in the split `{split}`; its splits are {', '.join(splits) or 'none'}"
        )
    samples = []
    num_left_out = 0
    for row in rows:
        captions: dict[str, list[str]] = {}
        for caption in row["captions"] or ():
            if caption["text"]:
                captions.setdefault(caption["kind"], []).append(caption["text"])
        if not captions or not row["images"]:
            num_left_out += 1
            continue
        text = captions.get(kind, next(iter(captions.values())))[0]
        samples += [Sample(row["dataset"], row["product_id"], image, text, captions) for image in row["images"]]
    if not samples:
        raise UserError(
            f"none of the {len(rows)} products of the split `{split}` has an image and a caption; check the captions"
        )
    kinds = sorted({kind for sample in samples for kind in sample.captions})
    if kind not in kinds:
        raise UserError(f"no product of the split `{split}` has a caption `{kind}`; the kinds are {', '.join(kinds)}")
    return sorted(samples, key=_sort_key), num_left_out


def _sort_key(sample: Sample) -> str:
    return sha256_bytes(json.dumps([sample.dataset, sample.product_id, sample.image]).encode())


def _members(samples: Sequence[Sample], packs: ImagePacks) -> Iterator[Members]:
    """Yield the files of each sample. Keys count from 0."""
    numbers = itertools.count()
    chunks = [samples[begin : begin + READ_BATCH_SIZE] for begin in range(0, len(samples), READ_BATCH_SIZE)]
    for chunk in progress(chunks, label="Exporting", total=len(samples), unit="images", size=len):
        images = packs.read_many([sample.image for sample in chunk])
        for sample, image in zip(chunk, images, strict=True):
            key = f"{next(numbers):09d}"
            metadata = {
                "key": key,
                "caption": sample.caption,
                "captions": sample.captions,
                "dataset": sample.dataset,
                "product_id": sample.product_id,
                "sha256": sample.image,
            }
            yield [
                (f"{key}.{_suffix(sample, image)}", image),
                (f"{key}.txt", sample.caption.encode()),
                (f"{key}.json", json.dumps(metadata, sort_keys=True, ensure_ascii=False).encode()),
            ]


def _suffix(sample: Sample, image: bytes) -> str:
    for beginning, suffix in SUFFIXES.items():
        if image.startswith(beginning):
            return suffix
    raise UserError(f"image {sample.image} of {sample.dataset} is neither JPEG nor PNG; ingest the dataset again")


def _shards(samples: Iterable[Members], max_bytes: int) -> Iterator[list[Members]]:
    """Yield the samples of one shard after another, each shard in memory."""
    shard: list[Members] = []
    num_bytes = 0
    for sample in samples:
        size = sum(BLOCK + -(-len(content) // BLOCK) * BLOCK for _, content in sample)
        if shard and num_bytes + size > max_bytes:
            yield shard
            shard, num_bytes = [], 0
        shard.append(sample)
        num_bytes += size
    if shard:
        yield shard


def _write_tar(path: Path, shard: Sequence[Members]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in shard:
            for name, content in sample:
                member = tarfile.TarInfo(name)  # with constant time, owner and mode
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
