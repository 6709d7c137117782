"""The commands `search` and `similar`, which search the published index on the light runtime."""

import json
import webbrowser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fclip.errors import UserError
from flows.cli.here import workspace_here

if TYPE_CHECKING:
    from fclip.search.index import Index
    from fclip.search.results import Hit

Top = Annotated[int, typer.Option("--top", "-k", help="Number of products to show, at most 10,000.")]
FilterOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="NAME=VALUE",
        help="Show only products with this attribute, for example colour=red. Repeat it for other attributes, or for "
        "other values of one attribute.",
    ),
]
Challenger = Annotated[bool, typer.Option("--challenger", help="Search the challenger's index, not the champion's.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Open = Annotated[bool, typer.Option("--open", help="Show the pictures in the browser, and write the page to reports/.")]


def search(
    text: Annotated[str | None, typer.Argument(help='What to find, for example "red summer dress".')] = None,
    image: Annotated[Path | None, typer.Option(help="An image file to find similar products of.")] = None,
    image_weight: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the image if there is a text too.")
    ] = 0.5,
    negative: Annotated[str | None, typer.Option(help="A text that products should not match.")] = None,
    filters: FilterOptions = None,
    hybrid: Annotated[
        bool, typer.Option("--hybrid", help="Rank products that contain the words too, and fuse both rankings.")
    ] = False,
    k: Top = 10,
    challenger: Challenger = False,
    as_json: Json = False,
    open_page: Open = False,
) -> None:
    """Search the published products by a text, an image, or both."""
    from fclip.search.index import Index
    from fclip.search.query import Query

    query = Query(text=text, image=image, negative=negative, image_weight=image_weight)
    index = Index.open(workspace_here().root, challenger=challenger, exact=True)
    (hits,) = index.find([query], filters=parse_filters(filters), k=k, hybrid=hybrid)
    parts = [text, f"like {image}" if image else None, f"not {negative}" if negative else None]
    _show(index, hits, ", ".join(part for part in parts if part), filters, as_json=as_json, open_page=open_page)


def similar(
    product_id: Annotated[str, typer.Argument(help="Id of a published product.")],
    dataset: Annotated[str | None, typer.Option(help="Its dataset, if several have a product with this id.")] = None,
    filters: FilterOptions = None,
    k: Top = 10,
    challenger: Challenger = False,
    as_json: Json = False,
    open_page: Open = False,
) -> None:
    """Show the products whose images are most similar to those of a product."""
    from fclip.search.index import Index

    index = Index.open(workspace_here().root, challenger=challenger, exact=True)
    hits = index.find_similar(product_id, dataset=dataset, filters=parse_filters(filters), k=k)
    _show(index, hits, f"similar to {product_id}", filters, as_json=as_json, open_page=open_page)


def parse_filters(options: Sequence[str] | None) -> dict[str, list[str]]:
    """Return filters from the form `name=value`; raises UserError for another form."""
    filters: dict[str, list[str]] = {}
    for option in options or ():
        name, separator, value = option.partition("=")
        if not separator or not name.strip() or not value.strip():
            raise UserError(f"the filter {option!r} has not the form NAME=VALUE, for example colour=red")
        filters.setdefault(name.strip(), []).append(value.strip())
    return filters


def _show(
    index: "Index", hits: "Sequence[Hit]", title: str, filters: list[str] | None, *, as_json: bool, open_page: bool
) -> None:
    title = ", ".join([title, *(filters or ())])
    if as_json:
        found = {"role": index.role, **asdict(index.publication), "query": title}
        typer.echo(json.dumps({**found, "results": [asdict(hit) for hit in hits]}, ensure_ascii=False, indent=2))
    else:
        _print(hits)
    if open_page:
        from fclip.search.page import write_page

        path = workspace_here().root / "reports" / "search.html"
        write_page(path, index, hits, title=title)
        opened = webbrowser.open(path.as_uri())
        typer.echo(f"{'opened' if opened else 'wrote'} {path}", err=as_json)


def _print(hits: "Sequence[Hit]") -> None:
    from rich.table import Table
    from rich.text import Text

    from flows.cli.terminal import console

    if not hits:
        console.print("No product was found.")
        return
    is_fused = any(hit.score != hit.similarity for hit in hits)
    table = Table("", "product", "dataset", *(["fused"] if is_fused else []), "similarity", "title", box=None)
    for rank, hit in enumerate(hits, start=1):
        scores = [*([f"{hit.score:.4f}"] if is_fused else []), f"{hit.similarity:.3f}"]
        table.add_row(str(rank), Text(hit.product_id), Text(hit.dataset), *scores, Text(hit.title))
    console.print(table)
