"""Commands of `fclip` that write what a workspace holds in forms that other tools read: `export`."""

from pathlib import Path
from typing import Annotated

import typer

from fclip.errors import UserError
from fclip.files import is_occupied
from flows.cli.terminal import console, workspace_here

export_app = typer.Typer(no_args_is_help=True, help="Write what a workspace holds in forms that other tools read.")


@export_app.command("webdataset")
def export_webdataset(
    out_dir: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    split: Annotated[str, typer.Option(help="Which products: train, val or test.")] = "train",
    caption: Annotated[
        str, typer.Option(help="The kind of caption in .txt; products without it have their first one.")
    ] = "title",
    shard_mb: Annotated[int, typer.Option(min=1, help="Megabytes a shard at most.")] = 128,
) -> None:
    """The training products as WebDataset shards (`jpg`, `txt`, `json`), for open_clip's training and others."""
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
        f"{done.num_samples} samples in {len(done.sizes)} shards in {out_dir}"
        + (f"; {done.num_left_out} products left out: no image, or no caption" if done.num_left_out else ""),
        highlight=False,
        soft_wrap=True,
    )


@export_app.command("transformers")
def transformers(
    model_dir: Annotated[Path, typer.Argument(help="A model folder: models/selected, one in models/finetune …")],
    out_dir: Annotated[Path, typer.Argument(help="A folder that does not exist yet, or is empty.")],
) -> None:
    """Write a CLIP as transformers' `CLIPModel`, with its tokenizer and preprocessing."""
    from fclip.export.transformers import export_clip

    if is_occupied(out_dir):
        raise UserError(f"{out_dir} exists already: name a folder that does not, or is empty")
    export_clip(model_dir, out_dir)
    console.print(f"written; read it with CLIPModel.from_pretrained({str(out_dir)!r}), and CLIPProcessor's")
