"""`fclip datasets`: list the published datasets, or show one in full."""

import io

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fclip.catalog.descriptions import known_datasets, load_description
from fclip.errors import UserError
from flows.cli.__main__ import app
from flows.cli.catalog import show_datasets


def shown(name: str | None) -> str:
    file = io.StringIO()
    show_datasets(Console(file=file, width=200), name)
    return file.getvalue()


def test_datasets_lists_every_published_dataset() -> None:
    table = shown(None)
    for name in known_datasets():
        description = load_description(name)
        (line,) = [line for line in table.splitlines() if line.strip().startswith(f"{name} ")]
        assert (description.hub or "none: set `path`") in line
        assert f"{description.num_rows:,}" in line


@pytest.mark.parametrize("name", known_datasets())
def test_datasets_shows_one_dataset_in_full(name: str) -> None:
    page = shown(name)
    description = load_description(name)
    source = description.source
    columns = [*source.texts.items(), *source.attributes.items(), ("product_id", source.product_id)]
    lines = [line.split() for line in page.splitlines()]
    for name_in_fclip, column in columns:
        assert any(line[:2] == [name_in_fclip, column] for line in lines)
    for task in description.tasks:
        assert any(line[:2] == [task.name, task.query] for line in lines)
    text = " ".join(page.split())
    assert all(" ".join(fact.split()) in text for fact in [*description.facts, *description.unverified])


def test_datasets_prints_brackets_verbatim() -> None:
    assert r"by the pattern ^\d+(?=_\d+$)" in shown("marqo-fashion200k")


def test_datasets_command_shows_a_dataset_or_names_the_known_ones() -> None:
    assert "Marqo/KAGL" in CliRunner().invoke(app, ["datasets", "marqo-kagl"]).output
    error = CliRunner().invoke(app, ["datasets", "kagl"]).exception
    assert isinstance(error, UserError)
    assert "choose one of kaggle-styles" in str(error)
