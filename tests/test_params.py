"""Params files are short and complete, and every setting is described."""

import dataclasses
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from fclip.base_models.registry import base_models
from fclip.catalog.descriptions import Description
from fclip.config import REQUIRED, config_fields, field_docs
from fclip.config_tree import describe, effective
from flows.params import Params, load_file, stages_that_read
from tasks.workspace.params import OPTIONAL, parse, read_params
from tasks.workspace.paths import Workspace
from tests.conftest import REPOSITORY

STUDY = REPOSITORY / "benchmarks" / "selection" / "params.yaml"
FILES = (REPOSITORY / "params.yaml", *sorted((REPOSITORY / "params").glob("*.yaml")), STUDY)
MAX_LINES = {"params.yaml": 90, "table.yaml": 50}
LONG_PATTERN = re.compile(r"\(\?[:=!<i]|\\[bdws]")


def tracked_keys(datasets: list[str], derived: dict[str, str]) -> set[str]:
    """The keys that dvc.yaml tracks for workspaces with these datasets; `derived`: derived dataset -> its original."""
    keys: set[str] = set()
    for body in yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"].values():
        names = derived if body.get("foreach") == "${derive.datasets}" else dict.fromkeys(datasets, "")
        for key in body.get("do", body).get("params", []):
            keys |= {key.replace("${key}", name).replace("${item.of}", of) for name, of in names.items()}
            keys |= set() if "$" in key else {key}
    return keys


def params_of(path: Path) -> Params:
    values = read_params(path)
    if path == STUDY:  # it gets the paths of its real data when it runs
        for name in ("clothing", "fmnist"):
            values["ingest"]["datasets"][name]["source"]["path"] = "somewhere"
    return parse("", values, Params)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_params_file_has_every_key_that_dvc_tracks(path: Path) -> None:
    values = read_params(path)
    derived = {name: dataset["of"] for name, dataset in values["derive"]["datasets"].items()}
    for key in tracked_keys(list(values["ingest"]["datasets"]), derived):
        inner: Any = values
        for part in key.split("."):
            assert part in inner, key
            inner = inner[part]
        assert inner is not None, key


def test_a_key_that_dvc_tracks_has_no_default() -> None:
    """So that a file without it gets our error, and DVC is not started."""
    settings = {setting.key: setting for section in describe(Params) for setting in section.settings}
    for key in tracked_keys(["<name>"], {"<name>": "<name>"}):
        setting = settings.get(key)
        assert key.endswith(".<name>") or setting is None or setting.default is REQUIRED, key


def test_the_other_sections_are_optional() -> None:
    defaults = {field.name for field in config_fields(Params).values() if field.default is not REQUIRED}
    assert defaults == set(OPTIONAL)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_params_file_is_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES.get(path.name if path != STUDY else "", 210)
    repeated = [text for text, number in Counter(map(str, leaves(yaml.safe_load(text)))).items() if number > 1]
    assert not [each for each in repeated if LONG_PATTERN.search(each)]


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict | list):
        return [leaf for each in (value.values() if isinstance(value, dict) else value) for leaf in leaves(each)]
    return [value]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_params_file_sets_no_default(path: Path) -> None:
    """What a file says and the default says too is noise; lists and mappings count as one value."""
    values, params = read_params(path), params_of(path)
    for each in effective(params):
        inner: Any = values
        for part in each.setting.key.split("."):
            inner = inner.get(part, ...) if isinstance(inner, dict) else ...
        if inner is not ... and each.is_default:
            pytest.fail(f"{path.name}: {each.setting.key} is the default")


def test_every_setting_and_every_section_is_described() -> None:
    for section in (*describe(Params), *describe(Description)):
        assert section.description, section.key
        for setting in section.settings:
            assert setting.description.endswith("."), setting.key
            assert len(setting.summary) <= 200, setting.key
    for kind, model in base_models().items():
        fields = {field.name for field in dataclasses.fields(model.config)} - {"kind"}
        assert set(field_docs(model.config)) == fields, kind


def test_known_values_of_the_presets() -> None:
    sample, table = load_file(REPOSITORY / "params.yaml"), load_file(REPOSITORY / "params" / "table.yaml")
    assert (sample.finetune.epochs, sample.finetune.batch_size, sample.finetune.learning_rate) == (3, 128, 3e-4)
    assert (table.finetune.epochs, table.finetune.batch_size, table.finetune.trainable) == (4, 32, "heads")
    assert [method.kind for method in sample.average.methods] == ["soup", "tower-search"]
    assert sample.ingest.settings.near_duplicates.max_difference == 0.06
    assert len(sample.caption.settings.cleaning.sku) == len(table.caption.settings.cleaning.boilerplate) == 3
    kagl = load_file(REPOSITORY / "params" / "kagl.yaml")
    assert kagl.caption.settings.cleaning.boilerplate == ()
    assert kagl.ingest.datasets["fmnist"].fractions == {}
    assert table.ingest.datasets["catalog"].fractions == {"train": 0.7, "val": 0.15, "test": 0.15}


@pytest.mark.parametrize(
    ("key", "stages"),
    [
        ("finetune.learning_rate", ("finetune",)),
        ("finetune.base_model.kind", ("caption", "finetune")),
        ("ingest.settings.limit", ("ingest",)),
        ("ingest.datasets.studio.source.seed", ("ingest@studio", "gather", "average", "select", "audit")),
        (
            "derive.datasets.studio-scene.selects",
            ("derive@studio-scene", "evaluate-derived@studio-scene", "select", "audit"),
        ),
        ("evaluate.datasets.street.slices", ("average", "evaluate@street", "audit")),
        (
            "ingest.datasets.studio.roles",
            ("ingest@studio", "derive", "gather", "average", "evaluate@studio", "select", "audit"),
        ),
        ("evaluate.min_slice", ()),
        ("promote.confidence", ()),
    ],
)
def test_stages_that_read_a_setting(key: str, stages: tuple[str, ...]) -> None:
    assert stages_that_read(Workspace(REPOSITORY), key) == stages
