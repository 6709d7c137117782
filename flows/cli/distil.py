"""The command `distil`: retrain with the embeddings of a larger model as targets."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.flow_run import Wait
from flows.cli.here import workspace_here
from flows.cli.terminal import console


def distil(
    teacher: Annotated[
        Path,
        typer.Argument(
            metavar="TEACHER", help="The larger model's embeddings of the products: Parquet with id and embedding."
        ),
    ],
    weight: Annotated[float, typer.Option(help="Weight of the distance to the teacher, beside the captions.")] = 1.0,
    wait: Wait = True,
) -> None:
    """Train the base model also on the image embeddings of a larger model, and run the whole pipeline.

    `fclip embed fashion-clip products.parquet TEACHER` writes them; ids must be product ids. The command sets
    finetune.distillation in params.yaml. The new model goes through the same gate as every other one.

    Example: `fclip distil fashionclip.parquet`.
    """
    workspace = workspace_here()
    from fclip.files import sha256_file
    from fclip.training.config import FinetuneConfig
    from fclip.training.teacher import read_embeddings
    from flows.cli.retrain import retrain
    from flows.edit_params import set_param
    from tasks.workspace.params import parse, read_params

    read_embeddings(teacher)
    path = teacher.resolve()
    if path.is_relative_to(workspace.root):
        path = path.relative_to(workspace.root)
    distillation = {"teacher": path.as_posix(), "sha256": sha256_file(teacher), "weight": weight}
    finetune = read_params(workspace.params).get("finetune") or {}
    parse("finetune", {**finetune, "distillation": distillation}, FinetuneConfig)  # before params.yaml changes
    if set_param(workspace.params, "finetune", "distillation", distillation):
        console.print(f"Set finetune.distillation in {workspace.params} to {path}", highlight=False, soft_wrap=True)
    retrain(wait=wait)
