"""`fclip init`: create a workspace for your own table of products."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from fclip.errors import UserError, printable
from flows.cli.here import workspace_here
from flows.cli.terminal import console
from flows.cli.workspaces import NewWorkspace, create_workspace, free_model_name, require_free

if TYPE_CHECKING:
    from fclip.catalog.mapping.propose import ProposedMapping
    from fclip.catalog.mapping.table_sample import TableSample

NUM_EXAMPLES = 3
MAX_EXAMPLE = 22  # characters of an example
MAX_NAME = 32  # characters of a column's name
MAX_IGNORED = 30  # columns that are listed
MULTILINGUAL = "{kind: open_clip, model: xlm-roberta-base-ViT-B-32, pretrained: laion5b_s13b_b90k}"


def init(
    path: Annotated[Path, typer.Argument(help="Folder of the new workspace. It must not exist.")],
    table: Annotated[
        str,
        typer.Option(help="The table: CSV, TSV, JSON Lines or Parquet; a path or an https://, s3:// or gs:// address."),
    ],
    images: Annotated[
        str | None,
        typer.Option(
            help="Folder of the images. Default: the image URLs in the table, or files in the folder of the table."
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="NAME=COLUMN",
            help="Correct the mapping, for example title=Name; price= leaves price without a column. Repeatable.",
        ),
    ] = None,
) -> None:
    """Create a workspace for your own table of products. It recognises the columns and finds the images."""
    from fclip.mirror.addresses import is_remote
    from flows.new_params import render_params

    home, path = workspace_here(), path.resolve()
    require_free(path)
    model = free_model_name(home, path.name)
    address = table if is_remote(table) else str(Path(table).expanduser().resolve())
    sample, mapping = read_mapping(address, images, columns or [])
    _print_mapping(sample, mapping)
    created = create_workspace(home, path, render_params(mapping, workspace=path.name, registered_model=model))
    _print_next(created, path)


def read_mapping(table: str, images: str | None, options: list[str]) -> "tuple[TableSample, ProposedMapping]":
    """Read a sample of the table at a path or remote address, and propose its mapping.

    Raises:
        UserError: the table or the folder of images cannot be read, or the mapping is not clear.
    """
    from dataclasses import replace

    from fclip.catalog.mapping.find_images import folders_beside
    from fclip.catalog.mapping.language import foreign_language
    from fclip.catalog.mapping.pick_columns import candidates, parse_map
    from fclip.catalog.mapping.propose import propose_mapping
    from fclip.catalog.mapping.table_sample import count_ids, read_sample
    from fclip.mirror.addresses import is_remote
    from fclip.mirror.source_access import SourceAccess

    remote_images = images if images is not None and is_remote(images) else None
    folders = [] if images is None or remote_images else _image_folders(Path(images).expanduser().resolve())
    with TemporaryDirectory() as mirror:
        local = SourceAccess(Path.cwd(), Path(mirror)).file(table)
        if images is None and not is_remote(table) and local.is_file():
            folders = folders_beside(local)
        sample = read_sample(local)
        given = parse_map(options, sample).get("title")
        titles = candidates("title", sample)
        title = given[0] if given else titles[0][0] if titles and given is None else None
        count = partial(count_ids, local, title=title)
        mapping = propose_mapping(
            sample, table=table, count=count, folders=folders, remote_images=remote_images, options=options
        )
    texts = [text for column in mapping.texts.values() for text in sample.values(column)]
    notes = mapping.notes
    if images is not None and mapping.images.folder is None:
        notes = (*notes, f"--images is not used: the cells of `{mapping.images.columns[0]}` are URLs.")
    return sample, replace(mapping, language=foreign_language(texts), notes=notes)


def _image_folders(folder: Path) -> list[Path]:
    """The named folder and the one around it, which paths in the table may begin at."""
    if not folder.is_dir():
        raise UserError(f"--images {folder} is not a folder; name the folder of the images")
    return [folder, folder.parent]


def _print_mapping(sample: "TableSample", mapping: "ProposedMapping") -> None:
    counted = f"{sample.num_rows:,} rows"
    if mapping.merge_rows:
        counted += f" of {mapping.num_products:,} products (rows with the same {mapping.product_id} are merged)"
    _print(f"{mapping.table}: {counted}; {len(sample.rows):,} sampled")
    shown = Table("name", "column", "examples", box=None, pad_edge=False)
    numbers = mapping.types or {}
    names = [(f"{name} (number)" if name in numbers else name, column) for name, column in mapping.columns]
    room = console.width - sum(max(len(_short(row[place])) for row in names) + 2 for place in (0, 1))
    for name, column in names:
        shown.add_row(Text(_short(name)), Text(_short(column)), Text(_examples(sample, column, room)))
    console.print()
    console.print(shown)
    console.print()
    _print(
        f"images: {_about_images(mapping)}",
    )
    if mapping.ignored:
        more = len(mapping.ignored) - MAX_IGNORED
        ignored = ", ".join(map(_short, mapping.ignored[:MAX_IGNORED]))
        _print(f"ignored: {ignored}" + (f", … and {more} more" if more > 0 else ""))
    if sample.num_unnamed:
        _print(f"ignored: {sample.num_unnamed} columns without a name")
    for note in mapping.notes:
        _print(f"note: {note}", "yellow")
    if mapping.language is not None:
        _print(
            f"note: the texts look {mapping.language.name}. fclip-tiny and FashionCLIP were trained on English texts, "
            "so expect weak search and zero-shot results with them. The alternative is a multilingual open_clip model "
            f"as finetune.base_model in params.yaml: {MULTILINGUAL}",
            "yellow",
        )


def _about_images(mapping: "ProposedMapping") -> str:
    images = mapping.images
    named = " and ".join(f"`{column}`" for column in images.columns)
    parts = [f"URLs in {named}" if images.folder is None else f"files in {images.folder}, named by {named}"]
    if images.suffix:
        parts.append(f"with {images.suffix} added")
    if images.separator is not None:
        parts.append(f"several in a cell, separated by {images.separator!r}")
    if images.num_found is None:
        checked = "not checked"
    elif images.folder is None:
        checked = f"{images.num_found} of {images.num_rows} sampled rows have valid addresses; nothing was downloaded"
    else:
        checked = f"{images.num_found} of {images.num_rows} sampled rows have their images"
    return f"{', '.join(parts)}: {checked}"


def _print_next(created: NewWorkspace, path: Path) -> None:
    _print(
        f"\nworkspace {created.workspace.root} on branch {created.branch}, registered model {created.registered_model}"
    )
    _print("The table and the images stay where they are. Check params.yaml there, then:\n")
    for command in (f"cd {path}", "fclip retrain --dry-run", "fclip retrain", 'fclip search "red summer dress"'):
        _print(f"  {command}")


def _print(text: str, style: str = "") -> None:
    """Print text without interpreting markup, which cells and column names may contain."""
    console.print(Text(printable(text), style), soft_wrap=False)


def _examples(sample: "TableSample", column: str, room: int) -> str:
    """Some values of a column, as many as there is room for, one at least."""
    from fclip.mirror.addresses import is_remote

    shown = ""
    for text in list(dict.fromkeys(sample.values(column)))[:NUM_EXAMPLES]:
        example = _end(text, MAX_EXAMPLE) if is_remote(text) else _short(text, MAX_EXAMPLE)
        if shown and len(shown) + 3 + len(example) > room:
            break
        shown += f" · {example}" if shown else example
    return shown


def _short(text: str, length: int = MAX_NAME) -> str:
    text = printable(" ".join(text[: 4 * length].split()))
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _end(address: str, length: int) -> str:
    """The end of an address, in which it differs from others."""
    return printable(address) if len(address) <= length else f"…{printable(address[1 - length :])}"
