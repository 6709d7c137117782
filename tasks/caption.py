"""Stage `caption@<dataset>`: data/catalog/<dataset> -> data/captions/<dataset>.parquet.

python -m tasks.caption DATASET
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from fclip.captions.build import build_captions
from fclip.captions.config import CaptionConfig
from fclip.captions.shorten import token_counter
from fclip.captions.table import write_captions
from fclip.catalog.tables import read_products
from fclip.errors import UserError
from fclip.models.store import load_tokenizer
from tasks.base_model import find_base_model
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.process import run_stage


def caption(workspace: Workspace, dataset: str) -> pa.Table:
    """Write and return the captions of `dataset`. Tokens are counted with the tokenizer of the pinned base model.

    Raises:
        UserError: the dataset is unknown or not ingested, or the base model is not pinned.
    """
    return caption_with_model(workspace, dataset, find_base_model)


def caption_with_model(workspace: Workspace, dataset: str, find_model: Callable[[Workspace], Path]) -> pa.Table:
    """The same as `caption`, with the tokenizer of the model folder that `find_model` returns."""
    config = load_section(workspace, "caption", CaptionConfig)
    if dataset not in config.datasets:
        known = ", ".join(config.datasets)
        raise UserError(f"caption.datasets of {workspace.params}: no dataset `{dataset}`; it has {known}")
    products = read_products(workspace.catalog(dataset))
    tokenizer = load_tokenizer(find_model(workspace))
    captions = build_captions(
        products,
        config,
        dataset,
        count_tokens=token_counter(tokenizer),
        context_length=tokenizer.context_length,  # type: ignore[attr-defined]
    )
    write_captions(workspace.captions(dataset), captions)
    return captions


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tasks.caption", description=__doc__)
    parser.add_argument("dataset", help="a name in caption.datasets of params.yaml")
    dataset = parser.parse_args().dataset
    run_stage(f"caption@{dataset}", lambda workspace: caption(workspace, dataset))
