"""Class wordings: chosen by what they raise, of what is offered; and what fclip-tiny is judged on."""

import itertools

import numpy as np
import yaml

from benchmarks.tiny.__main__ import LABELS
from benchmarks.tiny.wordings import MOST, OFFERED, choose, options_of
from benchmarks.tiny.workspace import PRESET
from tasks.params import read_params

LABELS_OF = [0, 0, 1, 1, 2, 2, 2]


def similarities(seed: int) -> dict[str, dict[tuple[str, ...], np.ndarray]]:
    draw = np.random.default_rng(seed)
    return {
        name: {option: draw.normal(size=len(LABELS_OF)).astype(np.float32) for option in ((name,), ("x",), ("x", "y"))}
        for name in ("coat", "bag", "shoe")
    }


def accuracy(columns: tuple[np.ndarray, ...]) -> float:
    return float((np.stack(columns, axis=1).argmax(axis=1) == LABELS_OF).mean())


def test_no_single_other_choice_is_better() -> None:
    for seed in range(20):
        offered = similarities(seed)
        chosen = choose(offered, LABELS_OF, "acc1")
        columns = {name: own[tuple(chosen.wordings[name])] for name, own in offered.items()}
        assert chosen.score == accuracy(tuple(columns.values()))
        assert chosen.plain == accuracy(tuple(own[name,] for name, own in offered.items())) <= chosen.score
        for name, option in itertools.chain.from_iterable(((n, o) for o in own.values()) for n, own in offered.items()):
            assert accuracy(tuple((columns | {name: option}).values())) <= chosen.score


def test_a_class_may_keep_its_name_or_have_a_few_others() -> None:
    assert options_of("Bag", []) == [("Bag",)]
    options = options_of("Bag", ["bag", "purse", "clutch", "tote", "bag"])
    assert options[0] == ("Bag",)
    assert len(options) == len(set(options)) == 1 + 4 + 6 + 4
    assert max(len(option) for option in options) == MOST


def test_what_is_offered_and_judged_is_of_the_preset() -> None:
    datasets = read_params(PRESET)["evaluate"]["datasets"]
    offered = yaml.safe_load(OFFERED.read_text())
    assert set(offered) <= set(datasets)
    for name, classes in offered.items():
        for wordings in datasets[name]["classification"]["wordings"].items():
            assert set(wordings[1]) <= {wordings[0], *classes[wordings[0]]}
    assert {entry["dataset"] for entry in yaml.safe_load(LABELS.read_text()).values()} <= set(datasets)
