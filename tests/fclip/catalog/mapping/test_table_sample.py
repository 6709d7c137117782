"""Reading a sample of a table, whatever its header."""

import json
from itertools import groupby, pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.catalog.mapping.table_sample import count_rows_by_id, read_sample, spread_sample
from fclip.errors import UserError


@given(st.integers(0, 500), st.integers(1, 40))
def test_a_sample_is_spread_evenly(num_items: int, size: int) -> None:
    sample = spread_sample(range(num_items), size)
    assert min(size, num_items) <= len(sample) < 2 * size or len(sample) == num_items
    steps = {later - earlier for earlier, later in pairwise(sample)}
    assert len(steps) <= 1
    assert sample[:1] == [0][:num_items]
    assert not sample or num_items - sample[-1] <= max(steps, default=num_items)


@given(st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.sampled_from([None, "t", "u"]))))
def test_counting_ids(rows: list[tuple[str | None, str | None]]) -> None:
    counts = count_rows_by_id(rows)
    ids = [own_id for own_id, _ in rows if own_id is not None]
    runs = [(own_id, list(group)) for own_id, group in groupby(rows, key=lambda row: row[0]) if own_id is not None]
    assert (counts.num_rows, counts.num_empty) == (len(rows), len(rows) - len(ids))
    assert (counts.num_distinct, counts.num_runs) == (len(set(ids)), len(runs))
    assert counts.num_repeats == len(ids) - len(set(ids))
    titles = [[title for _, title in group if title is not None] for _, group in runs]
    assert counts.num_contradictions == sum(sum(title != own[0] for title in own) for own in titles)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_byte_order_marks_and_blank_lines(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "t.csv"
    lines = [delimiter.join(cells) for cells in (["id", "the, title", "c"], ["1", "a", "b"])]
    lines[0] = lines[0].replace("the, title", '"the, title"')
    path.write_text("\ufeff" + "\n\n".join(lines), encoding="utf-8")
    sample = read_sample(path)
    assert sample.columns == ("id", "the, title", "c")
    assert sample.rows == ({"id": "1", "the, title": "a", "c": "b"},)


def test_headers_with_empty_and_repeated_names(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,,title,title, ,x\n1,2,3,4,5,6\n1,2\n")
    sample = read_sample(path)
    assert (sample.columns, sample.repeated, sample.num_unnamed) == (("id", "x"), ("title",), 2)
    assert (sample.num_rows, sample.num_unreadable) == (2, 1)


def test_formats_give_the_same_sample(tmp_path: Path) -> None:
    rows = [{"id": str(number), "title": f"Coat {number}"} for number in range(700)]
    (tmp_path / "t.csv").write_text("id,title\n" + "".join(f"{row['id']},{row['title']}\n" for row in rows))
    (tmp_path / "t.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    samples = [read_sample(tmp_path / f"t.{suffix}") for suffix in ("csv", "jsonl", "parquet")]
    assert samples[0] == samples[1] == samples[2]
    assert samples[0].num_rows == 700
    assert 300 <= len(samples[0].rows) < 600


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", "is empty"),
        ("t.csv", "id,title\n", "has no row"),
        ("t.csv", "id,title\n1\n2\n", r"has no row that can be read \(2 rows\)"),
        ("t.csv", ",,\n1,2,3\n", "has no column that can be mapped"),
        ("t.csv", "a,a\n1,2\n", "has no column that can be mapped"),
        ("t.jsonl", "", "has no column"),
        ("t.xlsx", "x", "must end in .csv"),
        ("t.parquet", "x", "is not a Parquet file"),
    ],
)
def test_what_is_no_table(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_sample(tmp_path / name)


def test_an_absent_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_sample(tmp_path / "t.csv")
