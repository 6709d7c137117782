"""Relevance judgements: a team's table of queries, products and grades.

A row is a query, a product and a grade from 0 (wrong) to 4 (an exact match). Judgements are ingested with their
dataset. Each row is kept, or counted with the reason for its refusal.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fclip.catalog.config import JudgementsConfig
from fclip.catalog.reading.delimited import read_delimited
from fclip.catalog.reading.files import describe_file, require_file
from fclip.catalog.reading.records import cell_text
from fclip.catalog.rows import Refusal
from fclip.errors import UserError
from fclip.files import atomic_path
from fclip.mirror.source_access import SourceAccess

MAX_GRADE = 4
GRADES = tuple(str(grade) for grade in range(MAX_GRADE + 1))
SCHEMA = pa.schema(
    [
        pa.field("query", pa.string(), nullable=False),
        pa.field("product_id", pa.string(), nullable=False),
        pa.field("grade", pa.int8(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Judgements:
    """Grades by query and product, and the number of refused rows by reason."""

    grades: Mapping[str, Mapping[str, int]]
    refused: Mapping[str, int]

    def to_json(self) -> dict[str, object]:
        """Return their part of `ingest.json`."""
        return {
            "num_queries": len(self.grades),
            "num_judgements": sum(len(products) for products in self.grades.values()),
            "refused_by_reason": dict(self.refused),
        }


def describe_judgements(config: JudgementsConfig, access: SourceAccess) -> dict[str, object]:
    """Return the current facts of the file for the dataset's pin. Raise UserError if it does not exist."""
    return describe_file(require_file(access.file(config.path)))


def read_judgements(config: JudgementsConfig, access: SourceAccess, product_ids: Collection[str]) -> Judgements:
    """Return the judgements about the products with `product_ids`.

    Raises:
        UserError: the file does not exist, lacks a column, or has no judgement of any product.
    """
    path = require_file(access.file(config.path))
    grades: dict[str, dict[str, int]] = {}
    refused: Counter[str] = Counter()
    for row in _rows(config, path):
        reason = row if isinstance(row, str) else _add(grades, product_ids, *row)
        if reason:
            refused[reason] += 1
    if not grades:
        reasons = ", ".join(f"{reason} {count}" for reason, count in refused.items()) or "it has no rows"
        raise UserError(
            f"{path} has no judgement of a product of the dataset ({reasons}); "
            "correct the file or its columns in params.yaml"
        )
    return Judgements({query: grades[query] for query in sorted(grades)}, dict(sorted(refused.items())))


def write_judgements(judgements: Judgements, path: Path) -> None:
    """Write judgements as a table, sorted by query and product."""
    rows = [
        {"query": query, "product_id": product, "grade": grade}
        for query, products in judgements.grades.items()
        for product, grade in sorted(products.items())
    ]
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary)


def _add(
    grades: dict[str, dict[str, int]], product_ids: Collection[str], query: str, product_id: str, grade: int
) -> str | None:
    """Add one judgement to `grades`. Return the reason if it is refused."""
    if product_id not in product_ids:
        return "unknown product"
    before = grades.setdefault(query, {}).setdefault(product_id, grade)
    return None if before == grade else "conflicting grade"


def _rows(config: JudgementsConfig, path: Path) -> Iterator[tuple[str, str, int] | str]:
    """Yield the query, product and grade of each row, or why it is refused."""
    for record in read_delimited(path, [config.query, config.product_id, config.grade]):
        if isinstance(record, Refusal):
            yield record.reason
            continue
        query, product_id, grade = (
            cell_text(record.get(column)) for column in (config.query, config.product_id, config.grade)
        )
        if query is None or not _is_text(query):
            yield "missing query" if query is None else "query is not UTF-8"
        elif product_id is None:
            yield "missing product"
        elif grade not in GRADES:
            yield f"grade is not from 0 to {MAX_GRADE}"
        else:
            yield " ".join(query.split()), product_id, int(grade)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # the bytes were not UTF-8
        return False
    return True
