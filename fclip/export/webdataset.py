"""Training products as WebDataset shards, which open_clip's training and the package `webdataset` read.

A sample is one image: `<key>.jpg` (or `.png`: the bytes as they are stored), `<key>.txt` (one caption) and
`<key>.json` (what is known of it), laid out as img2dataset does it. Samples are in an order by digest, so that every
shard is a fair part of the whole: who trains on shards shuffles whole ones, and few samples inside. `sizes.json` holds
the number of samples in each shard, by which open_clip knows the length of an epoch.

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
IMAGES_AT_ONCE = 256
SUFFIXES = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png"}  # what ingest stores
BLOCK = 512  # tar's: a header is one, and content fills whole ones

Members = list[tuple[str, bytes]]
"""The files of one sample: names and contents."""


@dataclass(frozen=True)
class Sample:
    """One image of a product, by its digest, with one of the product's captions; `captions` are all by kind."""

    dataset: str
    product_id: str
    image: str
    caption: str
    captions: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Exported:
    """What was written: samples in each shard by its name, and products left out for want of image or caption."""

    sizes: Mapping[str, int]
    num_left_out: int

    @property
    def num_samples(self) -> int:
        return sum(self.sizes.values())


def export_shards(
    products: Path, images: Callable[[str], Path], out_dir: Path, *, split: str, kind: str, max_bytes: int
) -> Exported:
    """Write the products of a split into shards of at most `max_bytes` (a sample that is larger is one of its own).

    Args:
        products: Parquet of `dataset, product_id, split, images, captions`.
        images: where the packs of a dataset are, by its name.
        out_dir: does not exist, or is empty; it appears whole or not at all.
        kind: of the caption in `.txt`; a product that has none of this kind has its first caption there.

    Raises:
        UserError: `out_dir` holds something, the products are missing, none is in the split or has a caption of
            the kind, or an image is in no pack.
    """
    if is_occupied(out_dir):
        raise UserError(f"{out_dir} already holds something: name a folder that does not exist yet, or empty it")
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
    return Exported(sizes, num_left_out)


def read_samples(products: Path, split: str, kind: str) -> tuple[list[Sample], int]:
    """A sample for every image of the split's products, in an order by digest; and how many products have none.

    Raises:
        UserError: there is no such file, or nothing in it to export.
    """
    if not products.is_file():
        raise UserError(f"{products} does not exist: run `dvc pull`, or `dvc repro gather`")
    table = pq.read_table(products, columns=["dataset", "product_id", "split", "images", "captions"])
    splits = sorted(set(table["split"].to_pylist()))
    rows = table.filter(pc.equal(table["split"], split)).to_pylist()
    if not rows:
        raise UserError(f"{products} has no product in the split `{split}`: it has {', '.join(splits) or 'none'}")
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
        raise UserError(f"none of the {len(rows)} products of the split `{split}` has both an image and a caption")
    kinds = sorted({kind for sample in samples for kind in sample.captions})
    if kind not in kinds:
        raise UserError(f"no product of the split `{split}` has a caption `{kind}`: there are {', '.join(kinds)}")
    return sorted(samples, key=_place), num_left_out


def _place(sample: Sample) -> str:
    return sha256_bytes(json.dumps([sample.dataset, sample.product_id, sample.image]).encode())


def _members(samples: Sequence[Sample], packs: ImagePacks) -> Iterator[Members]:
    """The files of each sample; keys count from 0."""
    numbers = itertools.count()
    chunks = [samples[begin : begin + IMAGES_AT_ONCE] for begin in range(0, len(samples), IMAGES_AT_ONCE)]
    for chunk in progress(chunks, label="export", total=len(samples), unit="images", size=len):
        images = packs.read_many([sample.image for sample in chunk])
        for sample, image in zip(chunk, images, strict=True):
            key = f"{next(numbers):09d}"
            about = {
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
                (f"{key}.json", json.dumps(about, sort_keys=True, ensure_ascii=False).encode()),
            ]


def _suffix(sample: Sample, image: bytes) -> str:
    for beginning, suffix in SUFFIXES.items():
        if image.startswith(beginning):
            return suffix
    raise UserError(f"image {sample.image} of {sample.dataset} is neither JPEG nor PNG: ingest the dataset again")


def _shards(samples: Iterable[Members], max_bytes: int) -> Iterator[list[Members]]:
    """Samples a shard at a time, in memory."""
    shard: list[Members] = []
    num_bytes = 0
    for sample in samples:
        own = sum(BLOCK + -(-len(content) // BLOCK) * BLOCK for _, content in sample)
        if shard and num_bytes + own > max_bytes:
            yield shard
            shard, num_bytes = [], 0
        shard.append(sample)
        num_bytes += own
    if shard:
        yield shard


def _write_tar(path: Path, shard: Sequence[Members]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in shard:
            for name, content in sample:
                member = tarfile.TarInfo(name)  # its time, owner and mode are always the same
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
