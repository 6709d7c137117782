"""Class wordings for zero-shot classification, chosen on the select half of a dataset.

python -m benchmarks.tiny.wordings DATASET --work DIR [--model DIR]

Of the texts that benchmarks/tiny/wordings.yaml offers for each class, at most three are taken together: those that
raise the dataset's primary metric most, class by class, until a round changes nothing. What is chosen is printed as it
goes into params, with the score before and after. The report half is not read.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import yaml

from benchmarks.tiny.workspace import add_arguments, dataset_and_config, model_folder, workspace_in
from fclip.errors import UserError
from fclip.evaluation.classification import class_embeddings, prompts
from fclip.evaluation.config import ClassificationConfig
from fclip.evaluation.items import read_items
from fclip.evaluation.metrics import ClassificationOutcome, all_items
from fclip.features.encode import FloatArray, unit
from fclip.features.extract import extract_features
from fclip.images.packs import ImagePacks

OFFERED = Path(__file__).with_suffix(".yaml")
MOST = 3
ROUNDS = 10


@dataclass(frozen=True)
class Chosen:
    """Wordings of each class, and the metric with each class's own name alone, and with them."""

    wordings: dict[str, list[str]]
    plain: float
    score: float


def choose(
    similarity: Mapping[str, Mapping[tuple[str, ...], FloatArray]], labels: Sequence[int], metric: str
) -> Chosen:
    """Of each class, the option that raises `metric` most while the other classes stay; again until nothing changes.

    Args:
        similarity: of each class, in the labels' order, option -> float [n]; the first option is the class's own name.
    """
    options = [list(own.items()) for own in similarity.values()]
    truth = np.asarray(labels, np.int64)
    scores = np.stack([own[0][1] for own in options], axis=1)

    def value() -> float:
        outcome = ClassificationOutcome(truth, scores.argmax(axis=1), scores.shape[1])
        return float(outcome.metrics(all_items(outcome))[metric][0])

    plain = best = value()
    chosen = [0] * len(options)
    for _ in range(ROUNDS):
        before = list(chosen)
        for number, own in enumerate(options):
            for option, (_, column) in enumerate(own):
                scores[:, number] = column
                if (found := value()) > best:
                    best, chosen[number] = found, option
            scores[:, number] = own[chosen[number]][1]
        if chosen == before:
            break
    names = list(similarity)
    return Chosen({name: list(options[i][chosen[i]][0]) for i, name in enumerate(names)}, plain, best)


def options_of(name: str, offered: Sequence[str]) -> list[tuple[str, ...]]:
    """The class's own name alone, then every choice of at most `MOST` of the texts."""
    texts = list(dict.fromkeys(offered))
    several = [choice for size in range(1, MOST + 1) for choice in combinations(texts, size)]
    return list(dict.fromkeys([(name,), *several]))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tiny.wordings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    offered = yaml.safe_load(OFFERED.read_text(encoding="utf-8"))
    parser.add_argument("dataset", choices=list(offered))
    add_arguments(parser)
    arguments = parser.parse_args()
    try:
        chosen = choose_on_select(arguments.work, arguments.model, arguments.dataset, offered[arguments.dataset])
    except UserError as error:
        parser.exit(1, f"{error}\n")
    print(yaml.safe_dump({"wordings": chosen.wordings}, default_flow_style=None, width=110, sort_keys=False), end="")
    print(f"# on the select half: {chosen.plain:.3f} with plain names, {chosen.score:.3f} with these")


def choose_on_select(work: Path, model: Path | None, dataset: str, offered: Mapping[str, list[str]]) -> Chosen:
    """Wordings of the classes of `dataset` for a model (None: fclip-tiny), by its primary metric."""
    workspace = workspace_in(work)
    files, config = dataset_and_config(workspace, dataset)
    assert config.classification is not None
    split = next(split for split, role in files.roles.items() if role == "select")
    items = read_items(files, config, [split])[split]
    options = {name: options_of(name, offered.get(name, [])) for name in items.classes}
    texts = {text: _prompts(text, config.classification) for own in options.values() for each in own for text in each}
    features = extract_features(
        {"model": model_folder(workspace, model)},
        packs=ImagePacks([files.images]),
        digests=items.classified,
        texts=[prompt for own in texts.values() for prompt in own],
        cache=workspace.feature_cache,
    )["model"]
    images = unit(features.images)
    parts = np.split(features.texts, np.cumsum([len(own) for own in texts.values()])[:-1])
    features_of = dict(zip(texts, parts, strict=True))
    similarity = {
        name: {
            option: images
            @ class_embeddings(rows := np.concatenate([features_of[text] for text in option]), [len(rows)])[0]
            for option in own
        }
        for name, own in options.items()
    }
    return choose(similarity, items.labels, config.primary.removeprefix("classification."))


def _prompts(text: str, config: ClassificationConfig) -> tuple[str, ...]:
    return prompts([text], replace(config, wordings={}))[0]


if __name__ == "__main__":
    main()
