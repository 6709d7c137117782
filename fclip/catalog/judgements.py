"""A team's own judgements: which products answer a query, and how well, from a table of theirs.

A row is a query, a product and a grade from 0 (wrong) to 4 (exactly what was meant). They are ingested with the
products that they are about, so that every row is kept or counted with the reason why not.
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

MOST = 4
GRADES = tuple(str(grade) for grade in range(MOST + 1))
SCHEMA = pa.schema(
    [
        pa.field("query", pa.string(), nullable=False),
        pa.field("product_id", pa.string(), nullable=False),
        pa.field("grade", pa.int8(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Judgements:
    """Grades by query and product, and how many rows were refused for each reason."""

    grades: Mapping[str, Mapping[str, int]]
    refused: Mapping[str, int]

    def to_json(self) -> dict[str, object]:
        """What `ingest.json` says of them."""
        return {
            "num_queries": len(self.grades),
            "num_judgements": sum(len(own) for own in self.grades.values()),
            "refused_by_reason": dict(self.refused),
        }


def describe_judgements(config: JudgementsConfig, outside: SourceAccess) -> dict[str, object]:
    """What the file is now, for the dataset's pin; raises UserError when it is not there."""
    return describe_file(require_file(outside.file(config.path)))


def read_judgements(config: JudgementsConfig, outside: SourceAccess, product_ids: Collection[str]) -> Judgements:
    """The rows about products that there are.

    Raises:
        UserError: the file is not there, lacks a column, or says nothing about any product.
    """
    path = require_file(outside.file(config.path))
    grades: dict[str, dict[str, int]] = {}
    refused: Counter[str] = Counter()
    for row in _rows(config, path):
        reason = row if isinstance(row, str) else _add(grades, product_ids, *row)
        if reason:
            refused[reason] += 1
    if not grades:
        reasons = ", ".join(f"{reason} {count}" for reason, count in refused.items()) or "it has no rows"
        raise UserError(f"{path} judges no product of the dataset ({reasons}): mend it, or its columns in params.yaml")
    return Judgements({query: grades[query] for query in sorted(grades)}, dict(sorted(refused.items())))


def write_judgements(judgements: Judgements, path: Path) -> None:
    """Write them as a table, sorted by query and product."""
    rows = [
        {"query": query, "product_id": product, "grade": grade}
        for query, own in judgements.grades.items()
        for product, grade in sorted(own.items())
    ]
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary)


def _add(
    grades: dict[str, dict[str, int]], product_ids: Collection[str], query: str, product_id: str, grade: int
) -> str | None:
    """Take one judgement in, or say why not."""
    if product_id not in product_ids:
        return "no such product"
    before = grades.setdefault(query, {}).setdefault(product_id, grade)
    return None if before == grade else "judged before, otherwise"


def _rows(config: JudgementsConfig, path: Path) -> Iterator[tuple[str, str, int] | str]:
    """Query, product and grade of each row, or why it has none."""
    for record in read_delimited(path, [config.query, config.product_id, config.grade]):
        if isinstance(record, Refusal):
            yield record.reason
            continue
        query, product_id, grade = (
            cell_text(record.get(column)) for column in (config.query, config.product_id, config.grade)
        )
        if query is None or not _is_text(query):
            yield "no query" if query is None else "query not UTF-8"
        elif product_id is None:
            yield "no product"
        elif grade not in GRADES:
            yield f"grade not from 0 to {MOST}"
        else:
            yield " ".join(query.split()), product_id, int(grade)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes that were no UTF-8
        return False
    return True
