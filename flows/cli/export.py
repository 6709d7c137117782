"""The commands `export`: write products and models of a workspace in formats of other tools."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fclip.errors import UserError
from fclip.files import is_occupied
from flows.cli.commands import new_app
from flows.cli.here import workspace_here, workspace_or_none
from flows.cli.terminal import console

if TYPE_CHECKING:
    from fclip.export.parity import Parity, ParityInputs

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


Name = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="The model: a folder, `fclip-tiny`, or a model on the Hugging Face hub; in a workspace also `selected`, a "
        "candidate, a registry version or an alias.",
    ),
]
OutDir = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to: a new or an empty folder.")]


@export_app.command("onnx")
def onnx(model: Name, out_dir: OutDir) -> None:
    """Write a model for the light runtime and any ONNX runtime: two graphs, the weights, the tokenizer, a manifest."""
    from fclip.export.onnx import export_onnx

    _export(export_onnx, model, out_dir, f"load it with fclip.runtime.load({str(out_dir)!r})")


@export_app.command("open-clip")
def open_clip(model: Name, out_dir: OutDir) -> None:
    """Write a model as a folder that open_clip loads from any working directory."""
    from fclip.export.open_clip import export_open_clip

    address = f"local-dir:{out_dir.resolve()}"
    _export(export_open_clip, model, out_dir, f"load it with open_clip.create_model_and_transforms({address!r})")


@export_app.command("transformers")
def transformers(model: Name, out_dir: OutDir) -> None:
    """Write a model as a transformers `CLIPModel` or `SiglipModel`, with its tokenizer and preprocessing."""
    from fclip.export.transformers import export_transformers

    how = f"load it with AutoModel.from_pretrained({str(out_dir)!r}) and the same call of AutoProcessor"
    _export(export_transformers, model, out_dir, how)


@export_app.command("hub")
def hub(model: Name, out_dir: OutDir) -> None:
    """Write the folder to upload to the Hugging Face hub: weights, ONNX graphs, configs and the model card."""
    from fclip.export.package import write_package
    from tasks.model_card import model_card_of

    def export(folder: Path, out: Path, inputs: "ParityInputs | None") -> "Parity":
        return write_package(folder, out, inputs, card=model_card_of(workspace_or_none(), model, folder))

    _export(export, model, out_dir, "README.md is its model card")


def _export(
    export: Callable[[Path, Path, "ParityInputs | None"], "Parity"], model: str, out_dir: Path, how: str
) -> None:
    """Export a model; the parity check uses products of the workspace, or drawn ones outside of a workspace."""
    from flows.cli.model_argument import model_to_export, parity_inputs_here

    if is_occupied(out_dir):
        raise UserError(f"{out_dir} is not empty; name a new or an empty folder")
    with model_to_export(model) as folder:
        parity = export(folder, out_dir, parity_inputs_here())
    console.print(
        f"Wrote {out_dir}; {how}\nIts embeddings equal the model's: lowest cosine {parity.min_image_cosine:.6f} over "
        f"{parity.num_images} images, {parity.min_text_cosine:.6f} over {parity.num_texts} texts",
        highlight=False,
        soft_wrap=True,
    )
