"""Stage `average`: create new candidates by averaging the weights of trained candidates.

    python -m tasks.average

Reads models/finetune and, for methods that need scores, the in-domain data with the role `select`. Writes
models/average: the list of all candidates with their distances to the base model, and a folder per average that lists
its parents.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from fclip.averaging.registry import (
    AverageConfig,
    InDomainScores,
    Recipe,
    Shares,
    TowerShares,
    averaging_methods,
    check_shares,
    trained_ancestors,
)
from fclip.errors import CannotAverageError
from fclip.evaluation.run import MetricScore
from fclip.files import atomic_dir
from fclip.models.candidates import Candidate, read_candidates, write_candidates
from fclip.models.digests import model_sha256
from fclip.models.mixtures import MixturePart
from fclip.models.store import ModelLoader, load, save
from fclip.models.weights import distances, have_same_tensor_names, write_mixture
from fclip.progress import text_table
from tasks.evaluate import evaluate_on
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.process import run_stage
from tasks.workspace.roles import read_roles

logger = logging.getLogger(__name__)
_Parents: TypeAlias = tuple[frozenset[tuple[str, float]], ...]  # the candidates and their shares, in both towers


def average(workspace: Workspace) -> None:
    """Write models/average: `candidates.json`, and `candidates/<name>/` for each average.

    Raises:
        UserError: the candidates or an in-domain dataset with the role `select` are missing.
    """
    candidates = list(read_candidates(workspace.finetune / "candidates.json"))
    config = load_section(workspace, "average", AverageConfig)
    base = next(candidate for candidate in candidates if candidate.kind == "base")
    checkpoints = [candidate.name for candidate in candidates if candidate.kind == "checkpoint"]
    scores: dict[_Parents, InDomainScores | None] = {}
    with atomic_dir(workspace.averages) as temporary:
        folders = {each.name: workspace.finetune / "candidates" / each.name for each in candidates}
        if checkpoints and not have_same_tensor_names(folders[base.name], folders[checkpoints[-1]]):
            folders[base.name] = _as_trained(folders[base.name], temporary / base.name)
        loader = ModelLoader()
        for method in config.methods:
            context = _Scorer(workspace, dict(folders), tuple(candidates), scores, loader).scores
            recipes = averaging_methods()[method.kind].recipes(method, tuple(candidates), context)
            if not recipes:
                logger.info("The method %s offers no average of these candidates", method.kind)
            for recipe in recipes:
                folder = temporary / "candidates" / recipe.name
                try:
                    candidates.append(_write(recipe, candidates, folders, folder))
                except CannotAverageError as error:  # the other candidates are as good as without it
                    logger.warning("The average %s of the method %s is left out: %s", recipe.name, method.kind, error)
                    shutil.rmtree(folder, ignore_errors=True)
                    continue
                folders[recipe.name] = folder
        far = distances({each.name: folders[each.name] for each in candidates}, folders[base.name])
        candidates = [replace(each, distance=_rounded(far[each.name])) for each in candidates]
        write_candidates(temporary / "candidates.json", candidates)
    _log(candidates, scores)


def _log(candidates: Sequence[Candidate], scores: Mapping[_Parents, InDomainScores | None]) -> None:
    """Log a table of the candidates with their distances to the base model, and scores where one was computed."""
    own = [scores.get(_key(trained_ancestors({each.name: 1.0}, candidates))) for each in candidates]
    rows = [
        (each.name, each.kind, "–" if each.distance is None else f"{each.distance:.2g}", _listed(score))
        for each, score in zip(candidates, own, strict=True)
    ]
    logger.info(
        "Wrote %d candidates; %d of them are averages; %d other averages were scored and not kept\n%s",
        len(candidates),
        sum(each.is_average for each in candidates),
        len(scores) - (len(own) - own.count(None)),
        text_table(("candidate", "kind", "distance", "in domain"), rows),
    )


def _listed(scores: InDomainScores | None) -> str:
    return " ".join(f"{score:.3f}" for score in scores.values()) if scores else "–"


def _as_trained(base: Path, folder: Path) -> Path:
    """Write the base model with the tensor names of training. open_clip renames some tensors when it loads a model."""
    folder.mkdir()
    save(load(base).model.state_dict(), config_from=base, out_dir=folder)
    return folder


def _write(recipe: Recipe, candidates: Sequence[Candidate], folders: Mapping[str, Path], folder: Path) -> Candidate:
    """Write the folder of an average and return its record.

    Raises:
        CannotAverageError: its parents are unknown or differ in their tensors, or its shares do not sum to 1.
    """
    assert recipe.name not in folders, f"two candidates are named {recipe.name}"
    check_shares(recipe.parents, folders)
    shares = trained_ancestors(recipe.parents, candidates)
    names = {*shares.images, *shares.texts}
    latest = max((each for each in candidates if each.name in names), key=lambda each: each.step)
    folder.mkdir(parents=True)
    write_mixture(folder, _parts(shares, folders))
    return Candidate(
        recipe.name,
        recipe.kind,
        latest.step,
        latest.epoch,
        model_sha256(folder),
        parents=shares.images,
        text_parents={} if shares.texts == shares.images else shares.texts,
    )


def _key(shares: TowerShares) -> _Parents:
    return tuple(frozenset(tower.items()) for tower in (shares.images, shares.texts))


def _parts(shares: TowerShares, folders: Mapping[str, Path]) -> list[MixturePart]:
    if shares.texts == shares.images:
        return [MixturePart(folders[name], share) for name, share in shares.images.items()]
    names = dict.fromkeys((*shares.images, *shares.texts))
    return [MixturePart(folders[name], shares.images.get(name, 0.0), shares.texts.get(name, 0.0)) for name in names]


def _rounded(distance: float) -> float | None:
    return round(distance, 9) if distance < float("inf") else None


@dataclass(frozen=True)
class _Scorer:
    """Scores averages on in-domain data for the methods that need scores, and adds the scores to `computed`."""

    workspace: Workspace
    folders: Mapping[str, Path]
    candidates: tuple[Candidate, ...]
    computed: dict[_Parents, InDomainScores | None]
    loader: ModelLoader

    def scores(self, averages: Sequence[Shares]) -> list[InDomainScores | None]:
        """See `AveragingContext`."""
        datasets = [name for name, roles in read_roles(self.workspace).items() if roles.trains and roles.selects]
        if not datasets:
            logger.warning("No training dataset has a split with the role `select`; no candidate can be scored")
            return [None] * len(averages)
        wanted = [trained_ancestors(shares, self.candidates) for shares in averages]
        missing = {_key(each): each for each in wanted if _key(each) not in self.computed}
        if missing:
            with TemporaryDirectory(dir=self.workspace.finetune.parent, prefix=".average-") as folder:
                folders = {
                    key: self._folder(each, Path(folder) / str(n)) for n, (key, each) in enumerate(missing.items())
                }
                self.computed.update(self._evaluate(datasets, folders))
        return [self.computed[_key(each)] for each in wanted]

    def _folder(self, shares: TowerShares, new: Path) -> Path:
        """The folder of a candidate, or the folder `new` with the average."""
        parts = _parts(shares, self.folders)
        if len(parts) == 1:
            return parts[0].folder
        new.mkdir()
        write_mixture(new, parts)
        return new

    def _evaluate(
        self, datasets: Sequence[str], folders: Mapping[_Parents, Path]
    ) -> dict[_Parents, InDomainScores | None]:
        """Return the held metrics of each model on the select data; None for models with nonfinite features."""
        names = {str(number): key for number, key in enumerate(folders)}
        values: dict[str, dict[str, float]] = {name: {} for name in names}
        nonfinite: set[str] = set()
        for dataset in datasets:
            evaluation = evaluate_on(
                self.workspace,
                {name: folders[key] for name, key in names.items()},
                dataset,
                roles=("select",),
                held_only=True,
                loader=self.loader,
            )
            nonfinite |= {name for name in names if evaluation.num_nonfinite[name]}
            for name in names:
                splits: dict[str, list[MetricScore]] = {}
                for entry in evaluation.scores:
                    if entry.model == name and entry.held:
                        splits.setdefault(f"{dataset}.{entry.full_metric}", []).append(entry)
                values[name] |= {metric: _mean_over_items(scores) for metric, scores in splits.items()}
        return {key: None if name in nonfinite else values[name] for name, key in names.items()}


def _mean_over_items(scores: Sequence[MetricScore]) -> float:
    return sum(each.num_items * each.estimate.value for each in scores) / sum(each.num_items for each in scores)


if __name__ == "__main__":
    run_stage("average", average)
