"""Captions of products, kept for the next pass in a file, which may be deleted at any time.

A row is known by everything that its captions depend on: the product's attributes and texts, and the key of the file,
which covers the config, the tokenizer, the code and the libraries.
"""

import json
import logging
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fclip.captions.build import Make
from fclip.captions.config import CaptionConfig
from fclip.files import atomic_path, sha256_bytes, sha256_code, sha256_file, sha256_json
from fclip.models.folder import WEIGHT_SUFFIXES, read_config

logger = logging.getLogger(__name__)
KEY = b"fclip.captions.cache"  # in the schema's metadata
LIBRARIES = ("ftfy", "open_clip_torch", "regex", "tokenizers", "transformers")
CODE = Path(__file__).parent


def caption_cache(path: Path, config: CaptionConfig, dataset: str, model: Path) -> Callable[[pa.Table, Make], pa.Table]:
    """Return the `reuse` of `build_captions` for `dataset`, with the tokenizer of a model folder.

    What is made is written to `path`, and replaces what was there. Products that are gone are not kept.
    """
    key = _key(config, dataset, model)

    def reuse(products: pa.Table, make: Make) -> pa.Table:
        digests = list(_digests(products))
        known = _read(path, key)
        rows = {} if known is None else {digest: row for row, digest in enumerate(known["sha256"].to_pylist())}
        absent = list({digest: row for row, digest in enumerate(digests) if digest not in rows}.items())
        if known is None or absent:
            made = make(products.take(pa.array([row for _, row in absent], pa.int64())))
            made = made.add_column(0, "sha256", pa.array([digest for digest, _ in absent], pa.string()))
            known = made if known is None else pa.concat_tables([known, made])
            rows |= {digest: len(rows) + number for number, (digest, _) in enumerate(absent)}
        found = known.take(pa.array([rows[digest] for digest in digests], pa.int64()))
        if absent or len(set(digests)) != len(rows):
            _write(path, key, found, digests)
        return found.drop_columns(["sha256"])

    return reuse


def _key(config: CaptionConfig, dataset: str, model: Path) -> str:
    text_cfg = read_config(model)["model_cfg"]["text_cfg"]
    name = text_cfg.get("hf_tokenizer_name")
    return sha256_json(
        [
            repr((config.settings, config.datasets[dataset])),
            text_cfg,
            _files(model / name) if name else [],
            sha256_code([CODE]),
            [version(library) for library in LIBRARIES],
        ]
    )


def _files(tokenizer: Path) -> list[tuple[str, str]]:
    """Return the files of a tokenizer with their digests. Its folder may be that of the model, whose weights change."""
    paths = [path for path in tokenizer.rglob("*") if path.is_file() and path.suffix not in WEIGHT_SUFFIXES]
    return sorted((path.relative_to(tokenizer).as_posix(), sha256_file(path)) for path in paths)


def _digests(products: pa.Table) -> Iterator[str]:
    """Yield the digest of the attributes and texts of each product."""
    columns = [list(_items(products[name].combine_chunks())) for name in ("attributes", "texts")]
    for each in zip(*columns, strict=True):
        yield sha256_bytes(json.dumps(each).encode())


def _items(maps: Any) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the keys and the values of each map. pyarrow's own conversion of maps takes several times as long."""
    keys, values, offsets = maps.keys.to_pylist(), maps.items.to_pylist(), maps.offsets.to_pylist()
    for begin, end in pairwise(offsets):
        yield keys[begin:end], values[begin:end]


def _read(path: Path, key: str) -> pa.Table | None:
    try:
        if not path.is_file() or (pq.read_schema(path).metadata or {}).get(KEY) != key.encode():
            return None
        return pq.ParquetFile(path).read()  # `read_table` imports pyarrow.dataset, which takes half a second
    except (pa.ArrowException, OSError) as error:
        logger.warning("Ignored %s, which is damaged (%s); all captions are made again", path, error)
        return None


def _write(path: Path, key: str, rows: pa.Table, digests: list[str]) -> None:
    first = {digest: row for row, digest in reversed(list(enumerate(digests)))}
    kept = rows.take(pa.array(sorted(first.values()), pa.int64())).combine_chunks()
    with atomic_path(path) as temporary:
        pq.write_table(kept.replace_schema_metadata({KEY: key}), temporary, compression="zstd")
