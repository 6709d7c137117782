"""What protocols declare is what they give."""

from typing import Any

import numpy as np
import pytest

from fclip.config import parse_config
from fclip.evaluation.catalog import Catalog
from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.metrics import names
from fclip.evaluation.outcomes import once
from fclip.evaluation.protocols.registry import direction, metric_label, protocols
from tests.fclip.evaluation.test_protocols import drawn, product

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
    """A config of the protocol `kind`."""
    protocols = {
        "known": {"kind": "zero-shot", **VALUES["zero-shot"]},
        "own": {"kind": kind, **VALUES[kind]},
    }
    values = {"primary": "known.acc1", "max_items": None, "slices": [], "protocols": protocols}
    return parse_config(values, DatasetEvaluation, where="params.yaml").protocols["own"]


@pytest.mark.parametrize("kind", protocols())
def test_a_protocol_gives_the_metrics_and_parts_that_it_declares(kind: str) -> None:
    declaration, config = protocols()[kind], parsed(kind)
    assert isinstance(config, declaration.config)
    task = declaration.make_task(config, SHOP, "test", None)
    assert task is not None
    found = task.judge(drawn((len(task.images), 8)), drawn((len(task.texts), 8), 1))
    assert tuple(found) == declaration.parts
    for judged in found.values():
        measured = judged.outcome.metrics(once(judged.outcome))
        assert set(measured) == set(names(declaration.metrics))
        assert all(np.isfinite(value).all() for value in measured.values())
    assert declaration.description.endswith(".")


def test_metrics_are_found_by_their_names() -> None:
    assert direction("retrieval.text_to_image.recall_at_10") == 1
    assert direction("margin") == 0
    assert metric_label("retrieval.text_to_image.recall_at_10", short=True) == "text→image R@10"
    assert metric_label("classification.acc1", short=True) == "accuracy"


def test_only_what_needs_captions_reads_them() -> None:
    reads = {kind: protocols()[kind].reads_captions(parsed(kind)) for kind in VALUES}
    assert {kind for kind, needed in reads.items() if needed} == {"retrieval", "attribute-search"}
