"""Score two models side by side on all that selects."""

from dataclasses import replace
from pathlib import Path

from fclip.catalog.config import IngestConfig
from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.run import Evaluation, evaluate_models
from fclip.registry.config import PromoteConfig
from fclip.selection.gate import Comparison
from tasks.evaluate import dataset_files, run_options
from tasks.params import load_section
from tasks.paths import Workspace

CHAMPION, CHALLENGER = "champion", "challenger"
ROLE = "select"


def compare_models(workspace: Workspace, champion: Path, challenger: Path) -> tuple[Comparison, ...]:
    """Challenger minus champion on the primary metric of every `select` split, in domain and outside.

    Both are scored now, on the same items (features come from the cache); the intervals are paired bootstrap ones
    at the confidence of the section `promote`.

    Args:
        champion, challenger: model folders.

    Raises:
        UserError: the data of a dataset is missing, or a model cannot be loaded.
    """
    datasets = load_section(workspace, "ingest", IngestConfig).datasets
    confidence = load_section(workspace, "promote", PromoteConfig).confidence
    options = run_options(workspace)
    options = replace(options, resampling=replace(options.resampling, confidence=confidence))
    found: list[Comparison] = []
    for name, dataset in datasets.items():
        splits = [split for split, role in dataset.roles.items() if role == ROLE]
        if not splits:
            continue
        evaluation = evaluate_models(
            {CHAMPION: champion, CHALLENGER: challenger},
            dataset_files(workspace, name),
            load_section(workspace, f"evaluate.datasets.{name}", DatasetEvaluation),
            cache=workspace.feature_cache,
            options=options,
            roles=(ROLE,),
        )
        in_domain = "train" in dataset.roles.values()
        found += [_comparison(evaluation, split, in_domain) for split in splits]
    return tuple(found)


def _comparison(evaluation: Evaluation, split: str, in_domain: bool) -> Comparison:
    champion, challenger = evaluation.score(CHAMPION, split), evaluation.score(CHALLENGER, split)
    difference = evaluation.compare(CHAMPION, CHALLENGER, split)
    return Comparison(
        dataset=evaluation.dataset,
        split=split,
        metric=f"{champion.protocol}.{champion.metric}",
        in_domain=in_domain,
        champion=champion.estimate.value,
        challenger=challenger.estimate.value,
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        num_items=challenger.num_items,
    )
