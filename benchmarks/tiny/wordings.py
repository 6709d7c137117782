"""Class wordings for zero-shot classification, chosen on the select half of a dataset.

python -m benchmarks.tiny.wordings DATASET [PROTOCOL] --work DIR [--model DIR]

Each class starts with its own name. Of the texts that benchmarks/tiny/wordings.yaml offers for it, one at a time is
taken in, left out or put in the place of all, where that raises the metric; class by class, until a round changes
nothing. What is chosen is printed as it goes into params, with the score before and after. The report half is not read.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from benchmarks.tiny.workspace import add_arguments, dataset_and_config, model_folder, workspace_in
from fclip.errors import UserError
from fclip.evaluation.catalog import read_catalog
from fclip.evaluation.outcomes import ClassificationOutcome, equal_weights
from fclip.evaluation.protocols.zero_shot import ZeroShotConfig, class_embeddings, zero_shot
from fclip.features.extract import extract_features
from fclip.features.similarity import FloatArray, unit
from fclip.images.packs import ImagePacks

ALTERNATIVES = Path(__file__).with_suffix(".yaml")
ROUNDS = 10
METRIC = "weighted_f1"


@dataclass(frozen=True)
class ChosenWordings:
    """Wordings of each class, and the metric with each class's own name alone, and with them."""

    wordings: dict[str, list[str]]
    plain: float
    score: float


def choose_wordings(
    images: FloatArray,
    offered: Mapping[str, Mapping[str, FloatArray]],
    labels: Sequence[int],
    *,
    pool: str,
    metric: str,
) -> ChosenWordings:
    """Of each class, the change of its wordings that raises `metric` most while the other classes stay; and again.

    Args:
        images: float32 [n, d], normalised.
        offered: of each class, in the labels' order, text -> its point, float32 [d]; the first is the class's own name.
        pool: of a class's wordings, as in `ZeroShotConfig`.
    """
    truth = np.asarray(labels, np.int64)
    chosen: dict[str, tuple[str, ...]] = {name: (next(iter(own)),) for name, own in offered.items()}

    def column(name: str, texts: tuple[str, ...]) -> FloatArray:
        own = np.stack([offered[name][text] for text in texts])
        points_of_class = own if pool == "max" else unit(own.sum(axis=0, keepdims=True))
        nearest: FloatArray = (images @ points_of_class.T).max(axis=1)
        return nearest

    scores = np.stack([column(name, texts) for name, texts in chosen.items()], axis=1)

    def value() -> float:
        predictions = scores.argmax(axis=1)
        outcome = ClassificationOutcome(truth, predictions, np.where(predictions == truth, 1, 0), scores.shape[1])
        return float(outcome.metrics(equal_weights(outcome))[metric][0])

    plain = best = value()
    for _ in range(ROUNDS):
        before = dict(chosen)
        for number, (name, own) in enumerate(offered.items()):
            while True:
                taken = chosen[name]
                for texts in single_changes(taken, tuple(own)):
                    scores[:, number] = column(name, texts)
                    if (found := value()) > best:
                        best, chosen[name] = found, texts
                scores[:, number] = column(name, chosen[name])
                if chosen[name] == taken:
                    break
        if chosen == before:
            break
    return ChosenWordings({name: list(texts) for name, texts in chosen.items()}, plain, best)


def single_changes(taken: tuple[str, ...], offered: tuple[str, ...]) -> list[tuple[str, ...]]:
    """`taken` with one text of `offered` more, with one less, and each text alone."""
    more = [(*taken, text) for text in offered if text not in taken]
    less = [tuple(each for each in taken if each != text) for text in taken if len(taken) > 1]
    return list(dict.fromkeys([*more, *less, *((text,) for text in offered)]))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tiny.wordings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    offered = yaml.safe_load(ALTERNATIVES.read_text(encoding="utf-8"))
    parser.add_argument("dataset", choices=list(offered))
    parser.add_argument("protocol", nargs="?", default="classification", help="one of the dataset's; classification")
    add_arguments(parser)
    arguments = parser.parse_args()
    own = offered[arguments.dataset].get(arguments.protocol)
    if own is None:
        parser.error(f"{ALTERNATIVES.name} offers nothing for {arguments.protocol} of {arguments.dataset}")
    try:
        chosen = choose_on_select_split(arguments.work, arguments.model, arguments.dataset, arguments.protocol, own)
    except UserError as error:
        parser.exit(1, f"{error}\n")
    print(yaml.safe_dump({"wordings": chosen.wordings}, default_flow_style=None, width=110, sort_keys=False), end="")
    print(f"# on the select half: {chosen.plain:.3f} with plain names, {chosen.score:.3f} with these")


def choose_on_select_split(
    work: Path, model: Path | None, dataset: str, protocol: str, offered: Mapping[str, list[str]]
) -> ChosenWordings:
    """Wordings of the classes of a protocol of `dataset` for a model (None: fclip-tiny), by weighted F1."""
    workspace = workspace_in(work)
    files, config = dataset_and_config(workspace, dataset)
    judged = config.protocols[protocol]
    assert isinstance(judged, ZeroShotConfig)
    split = next(split for split, role in files.roles.items() if role == "select")
    catalog = read_catalog(files, with_captions=False)
    plain = replace(judged, wordings={})
    task = zero_shot(plain, catalog, split, None)
    texts_of = {name: tuple(dict.fromkeys([name, *offered.get(name, [])])) for name in task.classes}
    prompts = [plain.prompts(text)[0] for own in texts_of.values() for text in own]
    features = extract_features(
        {"model": model_folder(workspace, model)},
        packs=ImagePacks([files.images]),
        digests=task.images,
        texts=[prompt for own in prompts for prompt in own],
        cache=workspace.feature_cache,
    )["model"]
    embeddings = iter(class_embeddings(features.texts, [len(own) for own in prompts]))
    of_class = {name: {text: next(embeddings) for text in own} for name, own in texts_of.items()}
    return choose_wordings(unit(features.images), of_class, task.labels, pool=judged.pool, metric=METRIC)


if __name__ == "__main__":
    main()
