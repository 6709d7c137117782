"""The whole of params.yaml, checked before a run changes anything, and the stages that read a setting."""

from pathlib import Path
from typing import Any

import yaml

from fclip.audits.config import AuditConfig
from fclip.averaging.registry import AverageConfig
from fclip.captions.config import CaptionConfig
from fclip.catalog.config import IngestConfig
from fclip.catalog.roles import roles_of_copies
from fclip.config import config
from fclip.embeddings.config import EmbedConfig
from fclip.errors import UserError
from fclip.evaluation.config import EvaluateConfig
from fclip.profile.config import DriftConfig
from fclip.search.config import SearchConfig
from fclip.selection.config import SelectConfig
from fclip.selection.gate import PromoteConfig
from fclip.selection.rules.registry import rules
from fclip.shifts.config import DeriveConfig
from fclip.training.config import FinetuneConfig
from tasks.workspace.params import Base, parse, read_params
from tasks.workspace.paths import Workspace
from tasks.workspace.roles import made_of


@config
class Params:
    """All settings of a workspace. A section that DVC tracks has no default, since DVC needs its key in the file."""

    base: Base
    """Names and the seed."""
    ingest: IngestConfig
    """The datasets, and how they are read, checked and stored."""
    caption: CaptionConfig
    """How captions are made from the texts and attributes of products."""
    finetune: FinetuneConfig
    """What is trained, on which objective, for how long, and how."""
    average: AverageConfig
    """New candidates as averages of the weights of others."""
    evaluate: EvaluateConfig
    """How evaluation runs, and the protocols of each dataset."""
    derive: DeriveConfig
    """Changed copies of a dataset's held-out products."""
    select: SelectConfig
    """How one candidate is selected."""
    audit: AuditConfig
    """What is measured of the selected model beside its scores, and what the gate accepts."""
    promote: PromoteConfig = PromoteConfig()
    """When a challenger becomes the champion."""
    drift: DriftConfig = DriftConfig()
    """When a run warns that the catalog has changed."""
    embed: EmbedConfig
    """How the catalog is embedded."""
    search: SearchConfig = SearchConfig()
    """How the index of the embeddings is built and kept."""


def load_params(workspace: Workspace) -> Params:
    """Parse all of params.yaml and compare its sections; raises UserError naming every fault by its key."""
    return load_file(workspace.params)


def load_file(path: Path) -> Params:
    """The same for any params file."""
    values = read_params(path)
    if "derive" not in values:
        raise UserError(
            f"{path.name}: derive: is missing: add `derive: {{datasets: {{}}}}` for no changed copies of products (DVC "
            "needs the key in the file), or copy the section from params.yaml of the repository"
        )
    params = parse("", values, Params)
    names = set(params.ingest.datasets)
    for section, datasets in (("caption", params.caption.datasets), ("evaluate", params.evaluate.datasets)):
        _same_datasets(section, names, datasets)
    _check_derived(params)
    _check_selection(params)
    return params


def stages_that_read(workspace: Workspace, key: str) -> tuple[str, ...]:
    """The stages of dvc.yaml that rerun if `key` changes: `ingest@studio`, or `ingest` for all datasets."""
    params = read_params(workspace.params)
    keys = {"ingest": dict.fromkeys(params["ingest"]["datasets"], ""), "derive": made_of(workspace)}
    stages = yaml.safe_load(workspace.dvc_yaml.read_text(encoding="utf-8"))["stages"]
    found: list[str] = []
    for name, body in stages.items():
        tracked = body.get("do", body).get("params", [])
        if "do" not in body:
            found += [name] if any(_overlaps(each, key) for each in tracked) else []
            continue
        datasets = keys["derive" if body["foreach"] == "${derive.datasets}" else "ingest"]
        of_datasets = [
            dataset
            for dataset, original in datasets.items()
            if any(_overlaps(each.replace("${key}", dataset).replace("${item.of}", original), key) for each in tracked)
        ]
        every = bool(datasets) and of_datasets == list(datasets)
        found += [name] if every else [f"{name}@{dataset}" for dataset in of_datasets]
    return tuple(found)


def _overlaps(tracked: str, key: str) -> bool:
    return f"{tracked}.".startswith(f"{key}.") or f"{key}.".startswith(f"{tracked}.")


def _check_derived(params: Params) -> None:
    for name, dataset in params.derive.datasets.items():
        if name in params.ingest.datasets:
            raise UserError(
                f"params.yaml: derive.datasets: `{name}` is a dataset in ingest.datasets; choose another name"
            )
        original = params.ingest.datasets.get(dataset.of)
        roles_of_copies(original.uses if original else None, selects=dataset.selects, name=name, of=dataset.of)


def _check_selection(params: Params) -> None:
    rule = rules()[params.select.rule]
    roles = [dataset.uses for dataset in params.ingest.datasets.values()]
    if rule.prefers_base and not any(own.trains and own.selects for own in roles):
        raise UserError(
            f"params.yaml: select.rule: {rule.kind} needs a training dataset with a split that has the role select; "
            "assign the role in ingest.datasets, or use in_domain_loss or last, which need no such split"
        )


def _same_datasets(section: str, names: set[str], datasets: dict[str, Any]) -> None:
    if unknown := sorted(set(datasets) - names):
        raise UserError(
            f"params.yaml: {section}.datasets: unknown dataset {', '.join(unknown)}: ingest.datasets has "
            f"{', '.join(sorted(names))}"
        )
    if absent := sorted(names - set(datasets)):
        raise UserError(f"params.yaml: {section}.datasets: is missing {', '.join(absent)}, which ingest.datasets has")
