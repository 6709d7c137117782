"""The commands `export`: write products and models of a workspace in formats of other tools."""

from pathlib import Path
from typing import Annotated

import typer

from fclip.errors import UserError
from fclip.files import is_occupied
from flows.cli.commands import new_app
from flows.cli.here import workspace_here
from flows.cli.terminal import console

export_app = new_app(
    no_args_is_help=True, help="Export training products or a model in a format that other tools read."
)


@export_app.command("webdataset")
def export_webdataset(
    out_dir: Annotated[Path, typer.Argument(help="Folder to write the shards to. It must not exist.")],
    split: Annotated[str, typer.Option(help="Split to export: train, val or test.")] = "train",
    caption: Annotated[
        str, typer.Option(help="Kind of caption to write as .txt. Products without this kind get their first caption.")
    ] = "title",
    shard_mb: Annotated[int, typer.Option(min=1, help="Largest size of a shard in MiB.")] = 128,
) -> None:
    """Write the products of a split as WebDataset shards (`jpg`, `txt`, `json`), for example for open_clip training."""
    from fclip.export.webdataset import export_shards

    workspace = workspace_here()
    done = export_shards(
        workspace.training / "products.parquet",
        workspace.images,
        out_dir.resolve(),
        split=split,
        kind=caption,
        max_bytes=shard_mb * 2**20,
    )
    console.print(
        f"Wrote {done.num_samples} samples in {len(done.sizes)} shards to {out_dir}"
        + (f"; skipped {done.num_left_out} products without an image or a caption" if done.num_left_out else ""),
        highlight=False,
        soft_wrap=True,
    )


@export_app.command("transformers")
def transformers(
    model_dir: Annotated[Path, typer.Argument(help="Model folder to export, for example models/selected.")],
    out_dir: Annotated[Path, typer.Argument(help="Folder to write to: a new or an empty folder.")],
) -> None:
    """Write a CLIP or SigLIP for transformers, with its tokenizer and preprocessing."""
    from fclip.export.transformers import export_transformers

    if is_occupied(out_dir):
        raise UserError(f"{out_dir} is not empty; name a new or an empty folder")
    export_transformers(model_dir, out_dir)
    console.print(
        f"Wrote the model; load it with AutoModel.from_pretrained({str(out_dir)!r}) and the same call of AutoProcessor"
    )
