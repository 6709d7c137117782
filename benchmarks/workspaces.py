"""Workspaces for benchmarks: params of a preset, pinned, ingested, captioned and gathered."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmarks.paths import PRESET, dataset_folder
from fclip.base_models.pinning import pin_base_model
from fclip.base_models.towers import TowersConfig
from fclip.catalog.config import IngestConfig
from fclip.catalog.pin import current_pin
from tasks import gather
from tasks.caption import caption
from tasks.ingest import ingest
from tasks.workspace.params import load_section, parse, read_params
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import write_pin
from tasks.workspace.sources import source_access

SECTIONS = ("ingest", "caption", "evaluate")


def lay_out_workspace(
    root: Path, datasets: Path, names: Sequence[str], *, preset: Path = PRESET, limit: int | None, device: str
) -> Workspace:
    """Create the workspace `root` with the datasets `names` of a preset, and run its stages up to `gather`.

    Args:
        datasets: the folder of the datasets. Sources of the kind `table` are read from `root` instead.
        preset: the params file.
        limit: maximum number of rows per dataset; None: all.
        device: the device for evaluation.

    Raises:
        UserError: the folder of a dataset does not exist.
    """
    params = read_params(preset)
    for section in SECTIONS:
        params[section]["datasets"] = {name: params[section]["datasets"][name] for name in names}
    params["derive"] = {"datasets": {}}
    params["ingest"]["settings"] = {**params["ingest"]["settings"], "limit": limit}
    params["evaluate"]["settings"] = {**params["evaluate"]["settings"], "device": device}
    for name in names:
        source = params["ingest"]["datasets"][name]["source"]
        if source["kind"] != "table":
            source["path"] = str(dataset_folder(datasets, name))
    workspace = Workspace(root)
    root.mkdir(parents=True, exist_ok=True)
    workspace.params.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    base_model = parse("finetune.base_model", params["finetune"]["base_model"], TowersConfig)
    pin = pin_base_model(base_model, root=root, cache_dir=workspace.model_cache)
    write_pin(workspace.base_model_pin, pin)  # captions are truncated to its context length
    config = load_section(workspace, "ingest", IngestConfig)
    for name in names:
        access = source_access(workspace, config, name, refresh=True)
        write_pin(workspace.source_pin(name), current_pin(name, config.datasets[name], access))
        ingest(workspace, name)
        caption(workspace, name)
    gather.main(workspace)
    return workspace
