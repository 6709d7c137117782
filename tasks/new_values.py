"""New types or brands: a second model that has not seen some of them, and its scores on their products.

A share of the categories (or brands) of an in-domain dataset is left out of training, and a second model is trained and
selected by the settings of the workspace. Its scores on reported products of these values say what to expect of values
that the shop adds later. It works in a folder of the cache: nothing is registered, and an interrupted training resumes.

Derived datasets are not made for it. If the selection rule reads other datasets, and only derived ones select, the rule
is nearest_to_base instead.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import fclip
from fclip.errors import UserError
from fclip.evaluation.bootstrap import Estimate
from fclip.evaluation.catalog import read_catalog
from fclip.evaluation.config import AnyProtocol, DatasetEvaluation
from fclip.evaluation.protocols.zero_shot import ZeroShotConfig
from fclip.evaluation.run import Evaluation, evaluate_models
from fclip.files import atomic_path, read_json, sha256_code, sha256_file, sha256_json, write_json
from fclip.selection.config import SelectConfig
from fclip.selection.rules.nearest import NEAREST_TO_BASE
from fclip.selection.rules.registry import rules
from tasks.average import average
from tasks.base_model import WarmStartPin, find_base_model, find_original_base_model, read_base_model_pin
from tasks.evaluate import dataset_files, evaluate, run_options
from tasks.finetune import finetune
from tasks.gather import main as gather
from tasks.hold_out import HoldOut, attributes_of
from tasks.select import main as select
from tasks.workspace.params import load_section, read_params
from tasks.workspace.paths import Workspace
from tasks.workspace.roles import read_roles

logger = logging.getLogger(__name__)

LEFT_OUT, HELD_OUT = "left out", "held out"
"""Splits of the products with these values: of those that would train or select, and of the reported ones."""
STAGES = ("finetune", "average", "evaluate", "select")
CODE = ("averaging", "evaluation", "models", "selection", "training")
"""The packages whose code the second model depends on."""


@dataclass(frozen=True)
class NewValueScore:
    """One metric on the reported products of the values that were left out.

    Attributes:
        by_model: by the name of the model. gain: second model minus base model, paired.
    """

    metric: str
    num_items: int
    by_model: Mapping[str, Estimate]
    gain: Estimate


def seconds_of_last_run(workspace: Workspace) -> float | None:
    """Return how long the stages that a second model needs took at their last runs here; None if one is not timed."""
    timings = read_json(workspace.stage_timings) if workspace.stage_timings.is_file() else {}
    own = {name: each for name, each in timings.items() if name.partition("@")[0] in STAGES}
    if {name.partition("@")[0] for name in own} != set(STAGES):
        return None
    return float(sum(each["ended"] - each["began"] for each in own.values()))


def train_without(workspace: Workspace, plan: HoldOut) -> Workspace:
    """Train and select a model without the values of the plan. Return the workspace in the cache that contains it.

    It is reused while params, data and code do not change. Models of other plans are deleted.

    Raises:
        UserError: as in the stages `finetune`, `average`, `evaluate` and `select`.
        Preempted: stopped by a signal; a new run resumes.
    """
    values, pin = _reduced_params(workspace, plan)
    find_base_model(workspace)  # it is in the cache from now on
    state = [values, pin, plan.dataset, plan.attribute, plan.values]
    state.append(sha256_code(Path(fclip.__file__).parent / name for name in CODE))
    for name in values["ingest"]["datasets"]:
        state += [sha256_file(workspace.catalog(name) / "products.parquet"), sha256_file(workspace.captions(name))]
    folder = workspace.new_values
    space = Workspace(folder / f"{plan.what}-{sha256_json(state)[:12]}")
    for other in folder.glob(f"{plan.what}-*"):
        if other != space.root:
            shutil.rmtree(other)
    if space.selected.is_dir():
        logger.info("The model without these %s is in the cache", plan.what)
        return space
    _lay_out(workspace, space, plan, values, pin)
    if not (space.finetune / "candidates.json").is_file():
        finetune(space)
    average(space)
    for name, own in read_roles(space).items():
        if own.selects:
            evaluate(space, name)
    select(space)
    for used in (space.finetune, space.averages):
        shutil.rmtree(used)
    return space


def measure_new_values(
    workspace: Workspace, space: Workspace, plan: HoldOut, models: Mapping[str, Path], *, second: str, base: str
) -> tuple[NewValueScore, ...]:
    """Score each of `models` (name -> folder) on the reported products of the plan's values.

    Classification is among all values of the catalog, also those that every model has seen.

    Args:
        space: the result of `train_without`.
        second, base: names in `models` of the second model and of the base model.
    """
    files = replace(dataset_files(space, plan.dataset), roles={HELD_OUT: "report"})
    config = _protocols(space, plan)
    evaluation = evaluate_models(
        models, files, config, cache=workspace.feature_cache, options=run_options(workspace), roles=("report",)
    )
    shown = [f"{name}.{metric}" for name, own in config.protocols.items() for metric in METRICS[own.kind]]
    return tuple(_score(evaluation, full, models, second, base) for full in shown)


METRICS = {"zero-shot": ("acc1",), "retrieval": ("text_to_image.recall_at_10",)}


def _score(evaluation: Evaluation, full: str, models: Mapping[str, Path], second: str, base: str) -> NewValueScore:
    protocol, _, metric = full.rpartition(".")
    own = {each.model: each for each in evaluation.scores if (each.protocol, each.metric) == (protocol, metric)}
    gain = evaluation.compare_all(base, second, HELD_OUT, protocol)[metric]
    return NewValueScore(full, own[base].num_items, {name: own[name].estimate for name in models}, gain)


def _protocols(space: Workspace, plan: HoldOut) -> DatasetEvaluation:
    """Classification by category and retrieval by title, as the dataset configures them."""
    evaluation = load_section(space, f"evaluate.datasets.{plan.dataset}", DatasetEvaluation)
    catalog = read_catalog(dataset_files(space, plan.dataset), with_captions=False)
    attributes = attributes_of(space, plan.dataset, catalog)
    found: dict[str, AnyProtocol] = {}
    own = {kind: [each for each in evaluation.protocols.values() if each.kind == kind] for kind in METRICS}
    if attributes.category:
        same = [each for each in own["zero-shot"] if getattr(each, "label", None) == attributes.category]
        found["classification"] = next(iter(same), ZeroShotConfig(kind="zero-shot", label=attributes.category))
    if own["retrieval"]:
        found["retrieval"] = own["retrieval"][0]
    if not found:
        raise UserError(
            f"{plan.dataset}: there is no category to classify and no protocol of the kind retrieval; add one to "
            f"evaluate.datasets.{plan.dataset}"
        )
    first = next(iter(found))
    return DatasetEvaluation(primary=f"{first}.{METRICS[found[first].kind][0]}", protocols=found)


def _reduced_params(workspace: Workspace, plan: HoldOut) -> tuple[dict[str, Any], dict[str, Any]]:
    """The params and the pin of the base model. A model that was trained on the values is no base model here.

    Derived datasets are left out. A rule that needs them is replaced by nearest_to_base, which reads no other dataset.
    """
    values = read_params(workspace.params)
    all_roles = read_roles(workspace)
    for name, roles in all_roles.items():
        kept = {split: role for split, role in roles.by_split.items() if role != "report"}
        values["ingest"]["datasets"][name] = {**values["ingest"]["datasets"][name], "roles": kept}
    values["derive"] = {"datasets": {}}
    rule = rules()[load_section(workspace, "select", SelectConfig).rule]
    if not rule.in_domain_only and not any(own.selects and not own.trains for own in all_roles.values()):
        logger.info("No ingested dataset is left for the rule %s; the rule is %s", rule.kind, NEAREST_TO_BASE.kind)
        values["select"] = {**values["select"], "rule": NEAREST_TO_BASE.kind}
    pin = read_base_model_pin(workspace)
    if pin is None:
        raise UserError("the base model is not pinned (there is no pins/base_model.json); run `fclip pin`")
    if isinstance(pin, WarmStartPin):
        find_original_base_model(workspace)  # it is in the cache from now on
        warm = values["finetune"]
        values["finetune"] = {**warm, "base_model": warm["base_model"]["otherwise"], "replay": None}
        pin = pin.otherwise
    return values, pin.to_json()


def _lay_out(
    workspace: Workspace, space: Workspace, plan: HoldOut, values: Mapping[str, Any], pin: Mapping[str, Any]
) -> None:
    """Write params, pin and the reduced catalog, and link everything else."""
    space.root.mkdir(parents=True, exist_ok=True)
    space.params.write_text(yaml.safe_dump(dict(values), sort_keys=False), encoding="utf-8")
    write_json(space.base_model_pin, pin)
    for name in values["ingest"]["datasets"]:
        for source, link in (
            (workspace.catalog(name), space.catalog(name)),
            (workspace.images(name), space.images(name)),
            (workspace.captions(name), space.captions(name)),
        ):
            if name != plan.dataset or source != workspace.catalog(name):
                _link(source, link)
    for source, link in (
        (workspace.model_cache, space.model_cache),
        (workspace.feature_cache, space.feature_cache),
        (workspace.pixel_cache, space.pixel_cache),
    ):
        source.mkdir(parents=True, exist_ok=True)
        _link(source, link)
    table = pq.read_table(workspace.catalog(plan.dataset) / "products.parquet")
    role_of = read_roles(workspace)[plan.dataset].by_split
    splits = [
        split if dict(attributes).get(plan.attribute) not in plan.values
        else HELD_OUT if role_of.get(split) == "report" else LEFT_OUT
        for split, attributes in zip(table["split"].to_pylist(), table["attributes"].to_pylist(), strict=True)
    ]  # fmt: skip
    column = table.schema.get_field_index("split")
    with atomic_path(space.catalog(plan.dataset) / "products.parquet") as temporary:
        pq.write_table(table.set_column(column, table.schema.field(column), pa.array(splits)), temporary)
    gather(space)


def _link(source: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(source)
