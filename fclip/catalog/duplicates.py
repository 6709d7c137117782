"""Near-duplicate images: which pairs are the same picture, found without comparing every pair.

Two images are near-duplicates when their hashes differ in at most `max_hash_distance` of 64 bits and their thumbnails
by at most `max_difference` of what is in them. The hash alone is not enough: small products on white give few signs
that tell them apart. So the thumbnails' mean difference is measured against their *ink*, the mean distance of the
pixels from the background (the median colour): a re-encoded photograph differs by a few hundredths of its ink,
another shoe by a fifth.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from fclip.catalog.config import MAX_HASH_DISTANCE, DuplicateConfig

BANDS = 4
BAND_BITS = 16
assert MAX_HASH_DISTANCE == 2 * BANDS - 1  # so that of two hashes some band differs in at most one bit
PAIRS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Looks:
    """Distinct looks: no two have both the same hash and the same thumbnail.

    Attributes:
        phash: uint64 [n].
        thumbnail: uint8 [n, 192], RGB.
    """

    phash: NDArray[np.uint64]
    thumbnail: NDArray[np.uint8]


def distinct_looks(phash: NDArray[np.uint64], thumbnail: NDArray[np.uint8]) -> tuple[Looks, NDArray[np.int64]]:
    """The distinct looks of images, in the order in which they first occur, and which of them each image has [n]."""
    if not len(phash):
        return Looks(phash, thumbnail), np.empty(0, np.int64)
    # Digests of them are sorted in a tenth of the memory.
    whole = b"".join(
        blake2b(thumbnail[row].tobytes(), digest_size=16, salt=phash[row].tobytes()).digest()
        for row in range(len(phash))
    )
    _, first, inverse = np.unique(np.frombuffer(whole, "V16"), return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return Looks(phash[first[order]], thumbnail[first[order]]), rank[inverse]


def near_duplicates(looks: Looks, config: DuplicateConfig, *, first_new: int = 0) -> NDArray[np.int64]:
    """Pairs [m, 2] of near-duplicates, i < j, sorted, of which at least j is `first_new` or later.

    Exactly those that comparing all pairs would find. Candidates are found by multi-index hashing (Norouzi, Punjani,
    Fleet 2012): 4 bands of 16 bits, each looked up as it is and with one bit flipped. Within a bucket only images of
    nearly the same mean are compared, since means differ by no more than pixels do.
    """
    mean, ink = _mean_and_ink(looks.thumbnail)
    reach = config.max_difference * np.maximum(ink, 1.0)
    new = np.arange(len(mean)) >= first_new
    found = [np.empty(0, np.int64)]
    for band in range(BANDS):
        keys = _keys(looks.phash, band)
        for i, j in _candidates(keys, mean, reach, new=new):
            differing = looks.phash[i] ^ looks.phash[j]
            close = np.bitwise_count(differing) <= config.max_hash_distance
            for earlier in range(band):  # which has given the pair already
                close &= np.bitwise_count(_keys(differing, earlier)) > 1
            i, j = i[close], j[close]
            difference = np.abs(looks.thumbnail[i].astype(np.int16) - looks.thumbnail[j]).mean(1)
            alike = difference <= np.minimum(reach[i], reach[j])
            i, j = i[alike], j[alike]
            found.append(np.minimum(i, j) << 32 | np.maximum(i, j))
    pairs = np.sort(np.concatenate(found))
    return np.stack([pairs >> 32, pairs & 0xFFFFFFFF], 1)


def _keys(hashes: NDArray[np.uint64], band: int) -> NDArray[np.int64]:
    """The bits of one band."""
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
    """Pairs, at least one of them new, whose keys are equal or differ in one bit and whose means lie within reach."""
    place = keys * 256.0 + mean  # one number to sort by: means are below 256
    order = np.argsort(place, kind="stable")
    sorted_place = place[order]
    asking = order[new[order]]  # sorted, since neighbours find theirs in the same part of memory
    for flipped in (0, *(1 << bit for bit in range(BAND_BITS))):
        wanted = (keys[asking] ^ flipped) * 256.0
        low = np.searchsorted(sorted_place, wanted + np.maximum(mean[asking] - reach[asking] - 1e-3, 0.0), "left")
        high = np.searchsorted(
            sorted_place, wanted + np.minimum(mean[asking] + reach[asking] + 1e-3, 255.9999), "right"
        )
        counts = np.maximum(high - low, 0)
        for part in _parts(counts):
            i = np.repeat(asking[part], counts[part])
            start = np.repeat(low[part] - np.concatenate([[0], np.cumsum(counts[part])[:-1]]), counts[part])
            j = order[start + np.arange(len(i))]
            once = np.where(new[j], i < j, True)  # a pair of two new ones is met from both sides
            yield i[once], j[once]


def _parts(counts: NDArray[np.int64]) -> Iterator[slice]:
    """Stretches of `counts` of about `PAIRS_AT_ONCE` in sum."""
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + PAIRS_AT_ONCE, "right")))
        if ends[end - 1] > done:
            yield slice(begin, end)
        begin = end
