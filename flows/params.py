"""The whole of params.yaml, checked before a run touches anything."""

from typing import Any

from fclip.averaging.registry import AverageConfig
from fclip.captions.config import CaptionConfig
from fclip.catalog.config import IngestConfig
from fclip.config import config
from fclip.embeddings.config import EmbedConfig
from fclip.errors import UserError
from fclip.evaluation.config import EvaluateConfig
from fclip.profile.config import DriftConfig
from fclip.selection.config import SelectConfig
from fclip.selection.gate import PromoteConfig
from fclip.training.config import FinetuneConfig
from tasks.workspace.params import Base, parse, read_params
from tasks.workspace.paths import Workspace


@config
class Params:
    """Every section; a stage reads its own alone."""

    base: Base
    ingest: IngestConfig
    caption: CaptionConfig
    finetune: FinetuneConfig
    average: AverageConfig
    evaluate: EvaluateConfig
    select: SelectConfig
    promote: PromoteConfig
    drift: DriftConfig
    embed: EmbedConfig


def load_params(workspace: Workspace) -> Params:
    """Parse all of params.yaml and hold its sections together; raises UserError naming every fault by its key."""
    values = read_params(workspace.params)
    params = parse("", values, Params)
    names = set(params.ingest.datasets)
    for section, datasets in (("caption", params.caption.datasets), ("evaluate", params.evaluate.datasets)):
        _same_datasets(section, names, datasets)
    return params


def _same_datasets(section: str, names: set[str], datasets: dict[str, Any]) -> None:
    if unknown := sorted(set(datasets) - names):
        raise UserError(
            f"params.yaml: {section}.datasets: unknown dataset {', '.join(unknown)}: ingest.datasets has "
            f"{', '.join(sorted(names))}"
        )
    if absent := sorted(names - set(datasets)):
        raise UserError(f"params.yaml: {section}.datasets: is missing {', '.join(absent)}, which ingest.datasets has")
