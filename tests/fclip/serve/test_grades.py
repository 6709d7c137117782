"""Merging grades into a table of judgements."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.errors import UserError
from fclip.serve.grades import GradedResult, Inbox, TableColumns, merge, read_inbox
from fclip.serve.queries import QueryLog, read_queries, summarise


def graded(query: str, product: str, grade: int, at: str, by: str = "Ada") -> GradedResult:
    return GradedResult(query, "shop", product, grade, by, f"2026-01-{at}T00:00:00+00:00")


def test_latest_grade_counts_and_other_rows_stay(tmp_path: Path) -> None:
    table = tmp_path / "judgements.csv"
    table.write_text("query,product_id,grade,source\nred,p1,1,old\nblue,p2,4,old\n")
    grades = [graded("red", "p1", 2, "03"), graded("red", "p1", 3, "02"), graded('new, "quoted"', "p9", 4, "01")]
    assert merge(grades, table) == (1, 1)
    assert table.read_text() == (
        "query,product_id,grade,source,by,at\n"
        "red,p1,2,old,Ada,2026-01-03T00:00:00+00:00\n"
        "blue,p2,4,old,,\n"
        '"new, ""quoted""",p9,4,,Ada,2026-01-01T00:00:00+00:00\n'
    )
    before = table.read_text()
    assert merge(grades, table) == (0, 0)
    assert table.read_text() == before


def test_columns_and_delimiter_are_those_of_the_table(tmp_path: Path) -> None:
    table = tmp_path / "judgements.tsv"
    table.write_text("q\tsku\tmark\n")
    assert merge([graded("red", "p1", 2, "03")], table, TableColumns("q", "sku", "mark")) == (1, 0)
    assert table.read_text().splitlines()[1].split("\t")[:3] == ["red", "p1", "2"]
    with pytest.raises(UserError, match="has no column 'query'"):
        merge([graded("red", "p1", 2, "03")], table)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 4), st.integers(10, 28))))
def test_merge_equals_a_dictionary_of_the_latest(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    grades = [graded(query, product, grade, str(day)) for query, product, grade, day in rows]
    table = tmp_path_factory.mktemp("merge") / "table.csv"
    for start in range(0, len(grades), 3):  # in parts, and the last part twice
        merge(grades[: start + 3], table)
    merge(grades, table)
    expected = {(each.query, each.product_id): each.grade for each in sorted(grades, key=lambda each: each.at)}
    found = [line.split(",") for line in table.read_text().splitlines()[1:]]
    assert {(query, product): int(grade) for query, product, grade, *_ in found} == expected


def test_inbox_survives_a_line_that_was_cut_short(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "state" / "judgements.jsonl")
    inbox.add([graded("red", "p1", 2, "03"), graded("ü\n", "p2", 0, "04")])
    path = tmp_path / "state" / "judgements.jsonl"
    path.write_text(path.read_text() + '{"query": "cu')
    assert [grade.query for grade in read_inbox(path)] == ["red", "ü\n"]
    path.write_text('{"query": "x"}\n' + json.dumps({"query": "y"}) + "\n")
    with pytest.raises(UserError, match="line 1 is not a grade"):
        read_inbox(path)


def test_queries_are_summarised(tmp_path: Path) -> None:
    log = QueryLog(tmp_path / "queries.jsonl")
    for text, number in (("Red Dress", 3), ("red  dress", 3), ("yacht", 0), ("yacht", 0)):
        log.add(text=text, has_image=False, filters={"colour": ["red", "blue"]} if number else {}, role="champion",
                num_results=number)  # fmt: skip
    log.add(text=None, has_image=True, filters={"colour": "red"}, role="champion", num_results=0)
    with (tmp_path / "queries.jsonl").open("a") as file:
        file.write('{"at": "cut sho')
    found = summarise(read_queries(tmp_path / "queries.jsonl"), top=5)
    assert (found.num_searches, found.num_with_image, found.num_filtered) == (5, 1, 3)
    assert found.texts == [("red dress", 2), ("yacht", 2)]
    assert found.empty == [("yacht", 2), ("an image, colour=red", 1)]
    assert found.filters == [("colour=red", 3), ("colour=blue", 2)]
