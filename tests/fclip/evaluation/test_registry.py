"""Protocols give the metrics and parts that they declare."""

from typing import Any

import numpy as np
import pytest

from fclip.config import parse_config
from fclip.evaluation.catalog import Catalog
from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.metrics import metric_names
from fclip.evaluation.outcomes import equal_weights
from fclip.evaluation.protocols.registry import direction, metric_label, protocols
from tests.fclip.evaluation.test_protocols import product, random_features

COLOURS = ("red", "blue", "green", "grey", "pink", "black")
SHOP = Catalog(
    "shop",
    tuple(
        product(number, split, colour=COLOURS[number % 6], title=f"title {number % 12}")
        for split, numbers in (("val", range(24)), ("test", range(24, 60)))
        for number in numbers
    ),
    judgements={"bag": {"p030": 4, "p031": 1}},
)
VALUES: dict[str, dict[str, Any]] = {
    "zero-shot": {"label": "colour", "templates": ["{}"], "wordings": {}, "pool": "mean"},
    "retrieval": {"caption": "title"},
    "attribute-search": {"query": "colour", "documents": {"image": 0.9, "title": 0.1}},
    "graded-retrieval": {"documents": {"image": 1.0}},
    "image-retrieval": {"label": "colour"},
    "linear-probe": {"label": "colour", "fit": "val", "l2": 1e-3},
    "k-nn": {"label": "colour", "fit": "val", "k": 3},
    "label-free": {"classes": ["bag", "hat"], "templates": ["{}"]},
}


def parsed(kind: str) -> Any:
    """Return a config of the protocol `kind`."""
    protocols = {
        "known": {"kind": "zero-shot", **VALUES["zero-shot"]},
        "tested": {"kind": kind, **VALUES[kind]},
    }
    values = {"primary": "known.acc1", "max_items": None, "slices": [], "protocols": protocols}
    return parse_config(values, DatasetEvaluation, where="params.yaml").protocols["tested"]


@pytest.mark.parametrize("kind", protocols())
def test_protocol_gives_its_declared_metrics_and_parts(kind: str) -> None:
    declaration, config = protocols()[kind], parsed(kind)
    assert isinstance(config, declaration.config)
    task = declaration.make_task(config, SHOP, "test", None)
    assert task is not None
    results = task.score(random_features((len(task.images), 8)), random_features((len(task.texts), 8), 1))
    assert tuple(results) == declaration.parts
    for result in results.values():
        measured = result.outcome.metrics(equal_weights(result.outcome))
        assert set(measured) == set(metric_names(declaration.metrics))
        assert all(np.isfinite(value).all() for value in measured.values())
    assert declaration.description.endswith(".")


def test_direction_and_label_of_a_metric() -> None:
    assert direction("retrieval.text_to_image.recall_at_10") == 1
    assert direction("margin") == 0
    assert metric_label("retrieval.text_to_image.recall_at_10", short=True) == "text→image R@10"
    assert metric_label("classification.acc1", short=True) == "accuracy"


def test_protocols_that_read_captions() -> None:
    reads = {kind: protocols()[kind].reads_captions(parsed(kind)) for kind in VALUES}
    assert {kind for kind, needed in reads.items() if needed} == {"retrieval", "attribute-search"}
