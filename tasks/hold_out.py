"""What a model that has not seen new types or brands is trained without: some values of an in-domain dataset."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal, TypeAlias

from fclip.audits.attributes import find_attributes, require_attributes
from fclip.audits.config import AuditConfig
from fclip.audits.data import Attributes
from fclip.catalog.roles import Roles
from fclip.errors import UserError
from fclip.evaluation.catalog import Catalog, read_catalog
from fclip.evaluation.config import DatasetEvaluation
from fclip.files import sha256_bytes
from tasks.evaluate import dataset_files
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.roles import read_roles

What: TypeAlias = Literal["types", "brands"]
MEANING: dict[What, str] = {"types": "category", "brands": "brand"}
SHARE = 0.2
"""The share of the values that is left out."""
MIN_REPORTED = 3
"""Reported products of a value that may be left out."""
MIN_VALUES = 4
"""With fewer values, too little would be left to train on."""


@dataclass(frozen=True)
class HoldOut:
    """What is left out of training.

    Attributes:
        attribute: of the catalog. values: of the attribute.
        num_left_out: products with these values that would train or select. num_held_out: reported products with them.
        num_others: products that train or select.
    """

    what: What
    dataset: str
    attribute: str
    values: tuple[str, ...]
    num_left_out: int
    num_held_out: int
    num_others: int


def plan_hold_out(workspace: Workspace, what: What, dataset: str | None = None) -> HoldOut:
    """Choose the values to leave out, by a hash of their names and the seed.

    Args:
        dataset: an in-domain dataset; None: the only one.

    Raises:
        UserError: there are several in-domain datasets, no such attribute, or too few values, or another in-domain
            dataset has products with the chosen values.
    """
    roles = read_roles(workspace)
    trained = [name for name, own in roles.items() if own.trains]
    if dataset is None and len(trained) != 1:
        raise UserError(f"name one DATASET of those with the role train: {', '.join(trained) or 'there is none'}")
    dataset = dataset or trained[0]
    if dataset not in trained:
        raise UserError(f"{dataset} does not train; name one of the datasets with the role train: {', '.join(trained)}")
    catalogs = {name: read_catalog(dataset_files(workspace, name), with_captions=False) for name in trained}
    configured = load_section(workspace, "audit", AuditConfig).attributes
    require_attributes(chain.from_iterable(each.products for each in catalogs.values()), configured)
    catalog = catalogs[dataset]
    attribute = getattr(attributes_of(workspace, dataset, catalog), MEANING[what])
    if attribute is None:
        raise UserError(
            f"{dataset}: no attribute is known to be the {MEANING[what]}; name it in audit.attributes.{MEANING[what]} "
            "of params.yaml"
        )
    role_of = roles[dataset].by_split
    reported: Counter[str] = Counter()
    used: Counter[str] = Counter()
    for product in catalog.products:
        if value := product.attributes.get(attribute):
            role = role_of.get(product.split)
            (reported if role == "report" else used if role else Counter())[value] += 1
    possible = sorted(value for value in used if reported[value] >= MIN_REPORTED)
    if len(possible) < MIN_VALUES:
        raise UserError(
            f"{dataset}: {len(possible)} values of {attribute} have {MIN_REPORTED} reported products or more, and new "
            f"{what} can be measured from {MIN_VALUES} on; give the report split more products in ingest.datasets"
        )
    seed = load_section(workspace, "base", Base).seed
    order = sorted(possible, key=lambda value: sha256_bytes(f"{seed} {value}".encode()))
    values = tuple(sorted(order[: max(1, round(SHARE * len(possible)))]))
    num_left_out = sum(used[value] for value in values)
    num_all = sum(role_of.get(product.split) in ("train", "select") for product in catalog.products)
    num_held_out = sum(reported[value] for value in values)
    plan = HoldOut(what, dataset, attribute, values, num_left_out, num_held_out, num_all - num_left_out)
    _require_unseen(plan, catalogs, roles)
    return plan


def attributes_of(workspace: Workspace, dataset: str, catalog: Catalog) -> Attributes:
    """Return the attributes of a dataset by their meaning, as the audits find them."""
    label = load_section(workspace, f"evaluate.datasets.{dataset}", DatasetEvaluation).label
    return find_attributes(catalog.products, load_section(workspace, "audit", AuditConfig).attributes, label)


def _require_unseen(plan: HoldOut, catalogs: Mapping[str, Catalog], roles: Mapping[str, Roles]) -> None:
    """Refuse values that another training dataset has too: the second model would not be without them."""
    for name, catalog in catalogs.items():
        seen = [
            value
            for product in catalog.products
            if name != plan.dataset and roles[name].by_split.get(product.split) in ("train", "select")
            if (value := product.attributes.get(plan.attribute)) in plan.values
        ]
        if seen:
            raise UserError(
                f"{name} trains too, and {len(seen):,} of its products have the {plan.attribute} "
                f"{', '.join(sorted(set(seen)))}, which the second model must not see; measure new {plan.what} of "
                f"{plan.dataset} in a workspace in which {name} does not train"
            )
