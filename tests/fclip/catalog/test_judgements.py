"""Judgements: every row of the file is kept, or refused and counted."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fclip.catalog.config import JudgementsConfig
from fclip.catalog.judgements import describe_judgements, read_judgements, write_judgements
from fclip.errors import UserError
from fclip.mirror.source_access import SourceAccess

CONFIG = JudgementsConfig(path="judged.csv", query="q", product_id="sku", grade="grade")
PRODUCTS = {"p1", "p2"}


def judgement_access(folder: Path, content: str | bytes) -> SourceAccess:
    path = folder / "judged.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return SourceAccess(folder, folder / "mirror")


def test_rows_are_kept_or_counted(tmp_path: Path) -> None:
    rows = ["q,sku,grade", "red  bag,p1,4", "red bag,p2,0", "red bag,p1,4", "red bag,p1,3", "red bag,p9,2"]
    rows += [",p1,1", "hat,,1", "hat,p1,5", "hat,p1,good", "hat,p1,", "hat,p1"]
    found = read_judgements(CONFIG, judgement_access(tmp_path, "\n".join(rows)), PRODUCTS)
    assert found.grades == {"red bag": {"p1": 4, "p2": 0}}
    assert found.refused == {
        "conflicting grade": 1,
        "grade is not from 0 to 4": 3,
        "missing product": 1,
        "missing query": 1,
        "unknown product": 1,
        "wrong number of fields": 1,
    }
    assert found.to_json()["num_judgements"] == 2


def test_query_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    found = read_judgements(CONFIG, judgement_access(tmp_path, b"q,sku,grade\nb\xff,p1,1\nbag,p1,1\n"), PRODUCTS)
    assert found.refused == {"query is not UTF-8": 1}
    write_judgements(found, tmp_path / "judgements.parquet")


def test_file_without_judgements_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no judgement of a product of the dataset \(unknown product 1\)"):
        read_judgements(CONFIG, judgement_access(tmp_path, "q,sku,grade\nbag,p9,1\n"), PRODUCTS)
    with pytest.raises(UserError, match=r"judged.csv does not exist"):
        describe_judgements(CONFIG, SourceAccess(tmp_path / "other", tmp_path / "mirror"))


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["bag", "hat", "", " "]), st.sampled_from(["p1", "p2", "p3", ""]), st.text(max_size=3)
        ),
        max_size=30,
    )
)
@settings(max_examples=60, deadline=None)
def test_counts_of_judgements_add_up(
    rows: list[tuple[str, str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("q", "sku", "grade"), ("bag", "p1", "1"), *rows])
    try:
        found = read_judgements(CONFIG, judgement_access(tmp_path_factory.mktemp("judged"), text.getvalue()), PRODUCTS)
    except (UserError, UnicodeEncodeError):
        return
    repeats = sum(found.refused.values()) + sum(len(own) for own in found.grades.values())
    assert repeats <= len(rows) + 1
    assert all(0 <= grade <= 4 for own in found.grades.values() for grade in own.values())
