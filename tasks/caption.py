"""Stage `caption@<dataset>`: data/catalog/<dataset> -> data/captions/<dataset>.parquet.

python -m tasks.caption DATASET
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from fclip.captions.build import build_captions
from fclip.captions.cache import caption_cache
from fclip.captions.config import CaptionConfig
from fclip.captions.table import write_captions
from fclip.captions.token_counts import read_token_counter
from fclip.catalog.tables import read_products
from fclip.errors import UserError
from fclip.models.folder import context_length, read_config
from tasks.base_model import find_base_model
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.process import run_stage


def caption(workspace: Workspace, dataset: str) -> pa.Table:
    """Write and return the captions of `dataset`. Tokens are counted with the tokenizer of the pinned base model.

    Captions of products that have not changed since the last pass come from cache/captions.

    Raises:
        UserError: the dataset is unknown or not ingested, or the base model is not pinned.
    """
    return caption_with_model(workspace, dataset, find_base_model, cache=workspace.caption_cache(dataset))


def caption_with_model(
    workspace: Workspace, dataset: str, find_model: Callable[[Workspace], Path], *, cache: Path | None = None
) -> pa.Table:
    """The same as `caption`, with the tokenizer of the model folder that `find_model` returns.

    Args:
        cache: the file of `fclip.captions.cache`; None: all captions are made.
    """
    config = load_section(workspace, "caption", CaptionConfig)
    if dataset not in config.datasets:
        known = ", ".join(config.datasets)
        raise UserError(f"caption.datasets of {workspace.params}: no dataset `{dataset}`; it has {known}")
    products = read_products(workspace.catalog(dataset))
    base_model = find_model(workspace)
    captions = build_captions(
        products,
        config,
        dataset,
        count_tokens=read_token_counter(base_model),
        context_length=context_length(read_config(base_model)["model_cfg"]["text_cfg"]),
        reuse=caption_cache(cache, config, dataset, base_model) if cache else None,
    )
    write_captions(workspace.captions(dataset), captions)
    return captions


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tasks.caption", description=__doc__)
    parser.add_argument("dataset", help="a name in caption.datasets of params.yaml")
    dataset = parser.parse_args().dataset
    run_stage(f"caption@{dataset}", lambda workspace: caption(workspace, dataset))
