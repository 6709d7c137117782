"""Compare ways of making candidates from the base model and trained models, without training anything.

python -m benchmarks.selection.generators --work DIR --runs full-2 [full-3 ...] [--out FILE]

DIR is the folder of `python -m benchmarks.selection`, which keeps the trained models. Every family of candidates is
scored on all datasets of the study. The table has, for each family, the best mean score on clothing and fmnist among
the candidates that lose at most so many points by each metric that is held in domain. A loss is measured from the best
candidate of a family that takes one training. The choice is in hindsight, so it says what a family offers, and not what
a rule would select.
"""

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.command import run_benchmark
from benchmarks.selection.run import PARAMS, TRAINED, kept_runs_parser
from benchmarks.selection.scores import SPLIT
from fclip.errors import UserError
from fclip.evaluation.catalog import read_catalog
from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.outcomes import equal_weights
from fclip.evaluation.protocols.registry import protocols
from fclip.evaluation.protocols.task import EvaluationTask
from fclip.evaluation.run import score_tasks
from fclip.features.extract import extract_features
from fclip.features.similarity import FloatArray, unit
from fclip.images.packs import ImagePacks
from fclip.models.candidates import BASE_MODEL
from fclip.models.folder import IMAGE_TOWER
from fclip.models.mixtures import MixturePart
from fclip.models.store import ModelLoader, save
from fclip.models.weights import mix, open_weights, write_mixture
from fclip.progress import text_table
from tasks.evaluate import dataset_files
from tasks.workspace.params import parse, read_params
from tasks.workspace.paths import Workspace

Pair: TypeAlias = tuple[FloatArray, FloatArray]  # features of images and of texts
Floats: TypeAlias = NDArray[np.float64]
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
TOLERANCES = (1, 1.5, 2, 3)
JUDGED = ("clothing", "fmnist")
SOUP, STOCK = "soup of all runs", "Model Stock of all runs"


@dataclass
class Dataset:
    """The select data of a dataset and its held metrics, the primary one first."""

    name: str
    packs: ImagePacks
    tasks: Mapping[tuple[str, str], EvaluationTask]
    held: Sequence[str]
    features: dict[str, Pair] = field(default_factory=dict)

    def scores(self, features: Pair) -> list[float]:
        """The held metrics of a model, in percent."""
        found: dict[str, float] = {}
        for _, protocol, scored in score_tasks(self.tasks, *features):
            values = scored.outcome.metrics(equal_weights(scored.outcome))
            found |= {f"{protocol}.{name}": value[0] for name, value in values.items()}
        return [100 * float(found[metric]) for metric in self.held]


def main() -> None:
    run_benchmark(kept_runs_parser("benchmarks.selection.generators", __doc__), _measure, Console())


def _measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    work: Path = arguments.work.resolve()
    datasets = list(_read_datasets(Workspace(work / "workspace")))
    others = [each.name for each in datasets if each.name != TRAINED]
    results: dict[str, Any] = {"datasets": [TRAINED, f"{TRAINED}, recall", *others], "runs": {}}
    rows: dict[str, list[list[float | None]]] = {}
    for run in arguments.runs:
        families = _score_run(datasets, work, run, arguments.runs)
        results["runs"][run] = {
            family: {name: [round(value, 2) for value in scores] for name, scores in candidates.items()}
            for family, candidates in families.items()
        }
        judged = [results["datasets"].index(name) for name in JUDGED]
        best = np.max(
            [
                scores[:2]
                for family, found in families.items()
                if family not in (SOUP, STOCK)
                for scores in found.values()
            ],
            axis=0,
        )
        for family, candidates in families.items():
            rows.setdefault(family, []).append([_best(candidates, best, judged, each) for each in TOLERANCES])
        console.print(f"{run} is scored", highlight=False)
    table = [
        (family, *(_mean([row[n] for row in found]) for n in range(len(TOLERANCES)))) for family, found in rows.items()
    ]
    console.print(text_table(("family", *(f"within {each:g}" for each in TOLERANCES)), table), highlight=False)
    return results


def _best(
    candidates: Mapping[str, Sequence[float]], best: Floats, judged: Sequence[int], tolerance: float
) -> float | None:
    """The best mean score on the judged datasets within the tolerance; None if no candidate is within it."""
    within = [scores for scores in candidates.values() if (best - np.array(scores[:2])).max() <= tolerance]
    return max((float(np.mean([scores[n] for n in judged])) for scores in within), default=None)


def _mean(values: Sequence[float | None]) -> str:
    """The mean over runs, as text; "–" if a family has no candidate within the tolerance in one of them."""
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.1f}" if len(known) == len(values) else "–"


def _score_run(
    datasets: Sequence[Dataset], work: Path, run: str, runs: Sequence[str]
) -> dict[str, dict[str, list[float]]]:
    """Family -> candidate -> its two in-domain scores and its scores on the other datasets."""
    base, last = _models(work, run)
    others = [_models(work, each)[1] for each in runs if each != run]
    with TemporaryDirectory(dir=work) as temporary:
        made = _Made(Path(temporary), base)
        models = {"base": base, **{f"{share:g}": made.line(last, share) for share in SHARES}}
        models |= {f"layers {low:g}": made.layers(last, low) for low in (0.4, 0.7)}
        if others:
            models |= {f"soup {share:g}": made.soup([last, *others], share) for share in SHARES if share > 0.6}
            models["stock"] = made.stock([last, *others])
        for dataset in datasets:
            dataset.features = _features(dataset, models, work)
    whole, steps = f"{SHARES[-1]:g}", [f"{share:g}" for share in SHARES]
    families: dict[str, dict[str, Callable[[Dataset], Pair]]] = {
        "line": {step: partial(_plain, step, step) for step in steps},
        "layers (LiNeS)": {name: partial(_plain, name, name) for name in models if name.startswith("layers")},
        "towers": {f"{images}, texts {texts}": partial(_plain, images, texts) for images in steps for texts in steps},
        "two halves": {f"{share:g}": partial(_halves, whole, whole, share) for share in SHARES},
        "two halves of towers": {
            f"{share:g}, texts {texts}": partial(_halves, whole, texts, share) for share in SHARES for texts in steps
        },
        SOUP: {name: partial(_plain, name, name) for name in models if name.startswith("soup")},
        STOCK: {name: partial(_plain, name, name) for name in models if name == "stock"},
    }
    return {
        family: {
            name: [score for dataset in datasets for score in dataset.scores(features(dataset))]
            for name, features in candidates.items()
        }
        for family, candidates in families.items()
    }


def _plain(images: str, texts: str, dataset: Dataset) -> Pair:
    return dataset.features[images][0], dataset.features[texts][1]


def _halves(images: str, texts: str, share: float, dataset: Dataset) -> Pair:
    """The features of base and tuned model side by side, so that similarities are the weighted mean of both."""
    base, tuned = dataset.features["base"], _plain(images, texts, dataset)
    weights = np.float32(np.sqrt(1 - share)), np.float32(np.sqrt(share))
    first, second = (
        np.hstack([weights[0] * unit(old), weights[1] * unit(new)]) for old, new in zip(base, tuned, strict=True)
    )
    return first, second


@dataclass(frozen=True)
class _Made:
    """Makes averages with the base model in a folder."""

    root: Path
    base: Path

    def line(self, model: Path, share: float) -> Path:
        return self._mixture([MixturePart(self.base, 1 - share), MixturePart(model, share)]) if share < 1 else model

    def soup(self, models: Sequence[Path], share: float) -> Path:
        return self._mixture(
            [MixturePart(self.base, 1 - share), *(MixturePart(each, share / len(models)) for each in models)]
        )

    def layers(self, model: Path, low: float) -> Path:
        """Updates scaled by depth, from `low` in the first block to 1 in the last (LiNeS: Wang et al. 2025)."""
        folder = self._new()
        with open_weights(self.base) as old, open_weights(model) as new:
            state = {
                name: mix(
                    [old.get_tensor(name), new.get_tensor(name)],
                    [(1 - low) * (1 - depth), low + (1 - low) * depth],
                )
                for name in new.keys()  # noqa: SIM118
                for depth in [_depth(name, list(new.keys()))]
            }
        save(state, config_from=model, out_dir=folder)
        return folder

    def stock(self, models: Sequence[Path]) -> Path:
        """Of each tensor, the mean of the models, moved to the base model by the angle between their updates.

        The share of the mean is k cos / (1 + (k − 1) cos) for k models (Model Stock: Jang et al. 2024).
        """
        folder = self._new()
        with ExitStack() as stack:
            old = stack.enter_context(open_weights(self.base))
            new = [stack.enter_context(open_weights(each)) for each in models]
            state = {}
            for name in new[0].keys():  # noqa: SIM118
                tensors = [old.get_tensor(name), *(each.get_tensor(name) for each in new)]
                share = _stock_share([(tensor - tensors[0]).flatten().double() for tensor in tensors[1:]])
                state[name] = mix(tensors, [1 - share, *[share / len(new)] * len(new)])
        save(state, config_from=models[0], out_dir=folder)
        return folder

    def _mixture(self, parts: Sequence[MixturePart]) -> Path:
        folder = self._new()
        write_mixture(folder, parts)
        return folder

    def _new(self) -> Path:
        folder = self.root / str(len(list(self.root.iterdir())))
        folder.mkdir()
        return folder


def _stock_share(updates: Sequence[torch.Tensor]) -> float:
    """The share of the mean of the models, from their updates of a tensor, each [n]; 0 if they are orthogonal."""
    pairs = list(combinations(updates, 2))
    cosine = max(0.0, float(np.mean([torch.cosine_similarity(first, second, dim=0).item() for first, second in pairs])))
    return len(updates) * cosine / (1 + (len(updates) - 1) * cosine)


BLOCK = re.compile(r"(?:blocks|layer|resblocks)\.(\d+)\.")


def _depth(name: str, names: Sequence[str]) -> float:
    """The depth of a tensor in its tower, from 0 for what comes before the first block to 1 for the last block."""
    tower = [each for each in names if each.startswith(IMAGE_TOWER) == name.startswith(IMAGE_TOWER)]
    blocks = [int(found[1]) for each in tower if (found := BLOCK.search(each))]
    if own := BLOCK.search(name):
        return (int(own[1]) + 1) / (max(blocks) + 1)
    return 0.0 if any(part in name for part in ("embedding", "stem", "trunk.bn1")) else 1.0


def _models(work: Path, run: str) -> tuple[Path, Path]:
    """The base model and the last checkpoint of a run."""
    folder = work / "jobs" / run / "out" / "candidates"
    steps = sorted(folder.glob("step-*"))
    if not steps:
        raise UserError(f"{folder} has no trained models; run `python -m benchmarks.selection --work {work}` first")
    return folder / BASE_MODEL, steps[-1]


def _read_datasets(workspace: Workspace) -> Iterator[Dataset]:
    evaluation = read_params(PARAMS)["evaluate"]["datasets"]
    for name in evaluation:
        config = parse(f"evaluate.datasets.{name}", evaluation[name], DatasetEvaluation).with_held_alone()
        files = dataset_files(workspace, name)
        catalog = read_catalog(files, with_captions=True)
        tasks = {
            (SPLIT, protocol): task
            for protocol, own in config.protocols.items()
            if (task := protocols()[own.kind].make_task(own, catalog, SPLIT, config.max_items))
        }
        yield Dataset(name, ImagePacks([files.images]), tasks, list(config.held))


def _features(dataset: Dataset, models: Mapping[str, Path], work: Path) -> dict[str, Pair]:
    found = extract_features(
        models,
        packs=dataset.packs,
        digests=[digest for task in dataset.tasks.values() for digest in task.images],
        texts=[text for task in dataset.tasks.values() for text in task.texts],
        cache=Workspace(work / "workspace").feature_cache,
        loader=ModelLoader(),
    )
    return {name: (own.images, own.texts) for name, own in found.items()}


if __name__ == "__main__":
    main()
