"""Which rows of a source a limit keeps."""

from fclip.files import sha256_bytes


def spread_rows(num_rows: int, limit: int | None) -> frozenset[int] | None:
    """`limit` rows spread over `num_rows`, always the same; None for all of them.

    One row from each of `limit` equal stretches, so that a source sorted by class or split gives a like share of
    each; its place in the stretch is hashed, so that a source with a period does not give one phase of it.
    """
    if limit is None or limit >= num_rows:
        return None
    rows = []
    for stretch in range(limit):
        begin, end = stretch * num_rows // limit, (stretch + 1) * num_rows // limit
        rows.append(begin + int(sha256_bytes(str(stretch).encode())[:8], 16) % (end - begin))
    return frozenset(rows)
