"""The commands `embed` and `classify`, which need no workspace and no torch."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fclip.errors import UserError
from flows.cli.model_argument import EMBEDDING_MODELS, load_runtime
from flows.cli.terminal import console

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help=f"The model: {EMBEDDING_MODELS}.")]
Input = Annotated[
    Path,
    typer.Argument(
        metavar="INPUT",
        help="A folder of images; a .csv, .tsv, .jsonl or .parquet table with a column of images or texts; or a .txt "
        "file with a text on each line.",
    ),
]
Column = Annotated[str | None, typer.Option(help="Column of a table. Default: image, path, text, title, …")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images or texts that go through the model at once.")]
SHOWN = 20


def embed(
    model: ModelName,
    input_path: Input,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="File to write: .parquet (id, embedding), or .npy (and the ids in a .txt file)."
        ),
    ],
    column: Column = None,
    kind: Annotated[
        Literal["image", "text"] | None, typer.Option(help="What the column contains. Default: by its name.")
    ] = None,
    batch_size: BatchSize = 32,
) -> None:
    """Embed images or texts to a Parquet or NumPy file: one L2-normalised vector each.

    An interrupted command continues where it stopped. Images that cannot be read are listed in a file beside OUT.
    """
    from fclip.embeddings.files import embed_to_file
    from fclip.embeddings.inputs import read_inputs
    from fclip.pages.wording import counted

    rows = read_inputs(input_path, column=column, kind=kind)
    done = embed_to_file(load_runtime(model), rows, out, batch_size=batch_size)
    reused = f" ({done.num_reused:,} of them by an interrupted run)" if done.num_reused else ""
    console.print(f"Wrote {done.num_rows:,} embeddings to {out}{reused}", highlight=False, soft_wrap=True)
    if done.errors:
        console.print(
            f"Left out {counted(done.num_errors, 'row')}; {done.errors} has the reasons",
            highlight=False,
            soft_wrap=True,
        )


def classify(
    model: ModelName,
    input_path: Input,
    classes: Annotated[
        list[str], typer.Option("--class", help="A class, such as dress. Give the option at least twice.")
    ],
    templates: Annotated[
        list[str] | None, typer.Option("--template", help="A text with {} for the class. Default: a photo of a {}.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write. Default: show the first rows.")] = None,
    column: Column = None,
    batch_size: BatchSize = 32,
) -> None:
    """Classify images by the similarity to texts of the classes (zero-shot), with the probability of each class."""
    from rich.table import Table

    from fclip.embeddings.classification import classify_rows, write_classes
    from fclip.embeddings.inputs import read_inputs

    rows = read_inputs(input_path, column=column, kind="image" if column else None)
    if rows.kind != "image":
        raise UserError(f"{input_path} has texts; only images can be classified")
    results = classify_rows(load_runtime(model), rows, classes, templates or [], batch_size=batch_size)
    if out:
        write_classes(out, results, classes)
        console.print(f"Wrote {len(results):,} rows to {out}", highlight=False, soft_wrap=True)
        return
    table = Table("", "class", "probability", box=None)
    for result in results[:SHOWN]:
        table.add_row(result.id, result.label or result.error, f"{result.probability:.3f}" if result.label else "")
    console.print(table)
    if len(results) > SHOWN:
        console.print(f"{len(results) - SHOWN:,} more rows; write all of them with --out", highlight=False)
