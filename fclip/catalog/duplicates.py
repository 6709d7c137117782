"""Near-duplicate images: find the pairs that show the same picture, without comparing all pairs.

Two images are near-duplicates if their hashes differ in at most `max_hash_distance` of 64 bits and the mean difference
of their thumbnails is at most `max_difference` times their *ink*. Ink is the mean distance of the pixels from the
background (the median colour). The hash alone is not enough: small products on white have similar hashes. A re-encoded
photograph differs by a few hundredths of its ink, a photograph of another shoe by a fifth.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from fclip.catalog.config import MAX_HASH_DISTANCE, DuplicateConfig

BANDS = 4
BAND_BITS = 16
assert MAX_HASH_DISTANCE == 2 * BANDS - 1  # then at least one band of two close hashes differs in at most one bit
PAIRS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Appearances:
    """Distinct appearances of images: no two have the same hash and the same thumbnail.

    Attributes:
        phash: uint64 [n].
        thumbnail: uint8 [n, 192], RGB.
    """

    phash: NDArray[np.uint64]
    thumbnail: NDArray[np.uint8]


def distinct_appearances(
    phash: NDArray[np.uint64], thumbnail: NDArray[np.uint8]
) -> tuple[Appearances, NDArray[np.int64]]:
    """Return the distinct appearances in order of first occurrence, and the index of each image's appearance [n]."""
    if not len(phash):
        return Appearances(phash, thumbnail), np.empty(0, np.int64)
    # Sorting digests needs a tenth of the memory.
    digests = b"".join(
        blake2b(thumbnail[row].tobytes(), digest_size=16, salt=phash[row].tobytes()).digest()
        for row in range(len(phash))
    )
    _, first, inverse = np.unique(np.frombuffer(digests, "V16"), return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return Appearances(phash[first[order]], thumbnail[first[order]]), rank[inverse]


def near_duplicates(appearances: Appearances, config: DuplicateConfig, *, first_new: int = 0) -> NDArray[np.int64]:
    """Return the pairs [m, 2] of near-duplicates, i < j and j >= `first_new`, sorted.

    The result equals that of comparing all pairs. Candidates come from multi-index hashing (Norouzi, Punjani, Fleet
    2012): 4 bands of 16 bits, each looked up unchanged and with one bit flipped. Within a bucket only images with
    similar means are compared, since means differ by no more than pixels do.
    """
    mean, ink = _mean_and_ink(appearances.thumbnail)
    reach = config.max_difference * np.maximum(ink, 1.0)
    new = np.arange(len(mean)) >= first_new
    encoded_pairs = [np.empty(0, np.int64)]
    for band in range(BANDS):
        keys = _keys(appearances.phash, band)
        for i, j in _candidates(keys, mean, reach, new=new):
            differing = appearances.phash[i] ^ appearances.phash[j]
            close = np.bitwise_count(differing) <= config.max_hash_distance
            for earlier in range(band):  # an earlier band has found the pair already
                close &= np.bitwise_count(_keys(differing, earlier)) > 1
            i, j = i[close], j[close]
            difference = np.abs(appearances.thumbnail[i].astype(np.int16) - appearances.thumbnail[j]).mean(1)
            alike = difference <= np.minimum(reach[i], reach[j])
            i, j = i[alike], j[alike]
            encoded_pairs.append(np.minimum(i, j) << 32 | np.maximum(i, j))
    pairs = np.sort(np.concatenate(encoded_pairs))
    return np.stack([pairs >> 32, pairs & 0xFFFFFFFF], 1)


def _keys(hashes: NDArray[np.uint64], band: int) -> NDArray[np.int64]:
    """Return the bits of one band of each hash."""
    return (hashes >> np.uint64(band * BAND_BITS)).astype(np.int64) & 0xFFFF


def _mean_and_ink(thumbnails: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean, ink = np.empty(len(thumbnails)), np.empty(len(thumbnails))
    for begin in range(0, len(thumbnails), 4096):
        part = thumbnails[begin : begin + 4096].reshape(-1, thumbnails.shape[1] // 3, 3).astype(np.float64)
        mean[begin : begin + 4096] = part.mean((1, 2))
        ink[begin : begin + 4096] = np.abs(part - np.median(part, axis=1, keepdims=True)).mean((1, 2))
    return mean, ink


def _candidates(
    keys: NDArray[np.int64], mean: NDArray[np.float64], reach: NDArray[np.float64], *, new: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield pairs with a new member whose keys differ in at most one bit and whose means are within reach."""
    sort_key = keys * 256.0 + mean  # one sort key, since means are below 256
    order = np.argsort(sort_key, kind="stable")
    sorted_keys = sort_key[order]
    queries = order[new[order]]  # sorted, so that neighbouring queries read neighbouring memory
    for flipped in (0, *(1 << bit for bit in range(BAND_BITS))):
        wanted = (keys[queries] ^ flipped) * 256.0
        low = np.searchsorted(sorted_keys, wanted + np.maximum(mean[queries] - reach[queries] - 1e-3, 0.0), "left")
        high = np.searchsorted(
            sorted_keys, wanted + np.minimum(mean[queries] + reach[queries] + 1e-3, 255.9999), "right"
        )
        counts = np.maximum(high - low, 0)
        for part in _parts(counts):
            i = np.repeat(queries[part], counts[part])
            start = np.repeat(low[part] - np.concatenate([[0], np.cumsum(counts[part])[:-1]]), counts[part])
            j = order[start + np.arange(len(i))]
            once = np.where(new[j], i < j, True)  # a pair of two new images is found twice
            yield i[once], j[once]


def _parts(counts: NDArray[np.int64]) -> Iterator[slice]:
    """Yield slices of `counts` whose sums are about `PAIRS_AT_ONCE`."""
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + PAIRS_AT_ONCE, "right")))
        if ends[end - 1] > done:
            yield slice(begin, end)
        begin = end
