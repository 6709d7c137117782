"""Score two models side by side on all that selects, in one run on the same items."""

from dataclasses import replace
from pathlib import Path

from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.run import evaluate_models
from fclip.registry.config import PromoteConfig
from fclip.selection.gate import Comparison
from tasks.evaluate import dataset_files, run_options
from tasks.params import load_section
from tasks.paths import Workspace

ROLE = "select"


def compare_models(workspace: Workspace, champion: Path, challenger: Path) -> tuple[Comparison, ...]:
    """Challenger minus champion on the primary metric of every `select` split, in domain and outside.

    Features come from the shared cache, so that what evaluation has encoded is not encoded again.
    """
    confidence = load_section(workspace, "promote", PromoteConfig).confidence
    options = replace(run_options(workspace), confidence=confidence)
    found = []
    for name, config in load_section(workspace, "evaluate.datasets", dict[str, DatasetEvaluation]).items():
        files = dataset_files(workspace, name)
        splits = [split for split, role in files.roles.items() if role == ROLE]
        if not splits:
            continue
        evaluation = evaluate_models(
            {"champion": champion, "challenger": challenger},
            files,
            config,
            cache=workspace.feature_cache,
            options=options,
            roles=(ROLE,),
        )
        for split in splits:
            before, after = evaluation.score("champion", split), evaluation.score("challenger", split)
            difference = evaluation.compare("champion", "challenger", split)
            found.append(
                Comparison(
                    dataset=name,
                    split=split,
                    metric=config.primary,
                    in_domain="train" in files.roles.values(),
                    champion=before.estimate.value,
                    challenger=after.estimate.value,
                    difference=difference.value,
                    low=difference.low,
                    high=difference.high,
                    num_items=after.num_items,
                )
            )
    return tuple(found)
