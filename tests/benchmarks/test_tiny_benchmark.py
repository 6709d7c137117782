"""Class wordings: chosen by what they raise, of what is offered; and what fclip-tiny is judged on."""

import numpy as np
import pytest
import yaml

from benchmarks.tiny.wordings import ALTERNATIVES, choose_wordings, single_changes
from benchmarks.tiny.workspace import PRESET
from fclip.evaluation.protocols.zero_shot import class_embeddings, classify
from fclip.features.similarity import FloatArray, unit
from tasks.workspace.params import read_params

LABELS = [0, 0, 1, 1, 2, 2, 2, 0, 1, 2]
CLASSES = ("coat", "bag", "shoe")


def embeddings(seed: int) -> tuple[FloatArray, dict[str, dict[str, FloatArray]]]:
    draw = np.random.default_rng(seed)
    rows = unit(draw.normal(size=(len(LABELS) + 9, 4)).astype("f4"))
    texts = iter(rows[len(LABELS) :])
    return rows[: len(LABELS)], {name: {text: next(texts) for text in (name, "x", "y")} for name in CLASSES}


def accuracy(images: FloatArray, chosen: list[list[FloatArray]], pool: str) -> float:
    if pool == "mean":
        chosen = [list(class_embeddings(np.stack(own), [len(own)])) for own in chosen]
    found = classify(images, np.concatenate([np.stack(own) for own in chosen]), LABELS, [len(own) for own in chosen])
    return float((found.predictions == LABELS).mean())


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_no_change_of_one_class_is_better(pool: str) -> None:
    for seed in range(20):
        images, offered = embeddings(seed)
        found = choose_wordings(images, offered, LABELS, pool=pool, metric="acc1")
        chosen = {name: [offered[name][text] for text in texts] for name, texts in found.wordings.items()}
        assert found.score == pytest.approx(accuracy(images, list(chosen.values()), pool))
        plain = accuracy(images, [[own[name]] for name, own in offered.items()], pool)
        assert found.plain == pytest.approx(plain)
        for name, texts in found.wordings.items():
            for other in single_changes(tuple(texts), tuple(offered[name])):
                tried = {**chosen, name: [offered[name][text] for text in other]}
                assert accuracy(images, list(tried.values()), pool) <= found.score + 1e-9


def test_a_change_is_one_text_more_or_less_or_one_alone() -> None:
    assert single_changes(("a",), ("a", "b")) == [("a", "b"), ("a",), ("b",)]
    assert single_changes(("a", "b"), ("a", "b")) == [("b",), ("a",)]
    assert single_changes(("Bag",), ("Bag",)) == [("Bag",)]


def test_what_is_offered_and_judged_is_of_the_preset() -> None:
    datasets = read_params(PRESET)["evaluate"]["datasets"]
    for dataset, protocols in yaml.safe_load(ALTERNATIVES.read_text()).items():
        for protocol, offered in protocols.items():
            for name, wordings in datasets[dataset]["protocols"][protocol]["wordings"].items():
                assert set(wordings) <= {name, *offered[name]}
