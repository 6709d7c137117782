"""The roles of the datasets of a workspace: train, select, report."""

from typing import Any

from fclip.catalog.roles import Roles, roles_of_copies
from tasks.workspace.params import parse, read_params
from tasks.workspace.paths import Workspace


def read_roles(workspace: Workspace) -> dict[str, Roles]:
    """Return the roles of every dataset in `ingest.datasets` of params.yaml, without parsing the rest of the section.

    So a stage that needs only the roles does not depend on the code of the source kinds.

    Raises:
        UserError: a dataset has no mapping `roles`.
    """
    datasets = read_params(workspace.params).get("ingest", {}).get("datasets", {})
    return {
        name: Roles(parse(f"ingest.datasets.{name}.roles", (dataset or {}).get("roles"), dict[str, str]))
        for name, dataset in datasets.items()
    }


def made_of(workspace: Workspace) -> dict[str, str]:
    """Return the original of every dataset in `derive.datasets` of params.yaml; empty without that section.

    Raises:
        UserError: a derived dataset does not say what it is made of.
    """
    return {
        name: parse(f"derive.datasets.{name}.of", dataset.get("of"), str)
        for name, dataset in read_derived(workspace).items()
    }


def read_derived_roles(workspace: Workspace) -> dict[str, Roles]:
    """Return the roles of every dataset in `derive.datasets`: of the splits of its original that it copies.

    Raises:
        UserError: a derived dataset is not made of a dataset in `ingest.datasets`.
    """
    originals, derived = read_roles(workspace), read_derived(workspace)
    return {
        name: roles_of_copies(
            originals.get(of),
            selects=parse(f"derive.datasets.{name}.selects", derived[name].get("selects", False), bool),
            name=name,
            of=of,
        )
        for name, of in made_of(workspace).items()
    }


def read_evaluated_roles(workspace: Workspace) -> dict[str, Roles]:
    """Return the roles of every dataset that models are evaluated on: the ingested ones, then the derived ones.

    Controls are left out.
    """
    left_out = controls(workspace)
    derived = {name: roles for name, roles in read_derived_roles(workspace).items() if name not in left_out}
    return {**read_roles(workspace), **derived}


def controls(workspace: Workspace) -> frozenset[str]:
    """Return the derived datasets that are only the control of an audit: products put back on white."""
    derived = read_derived(workspace).items()
    return frozenset(name for name, dataset in derived if (dataset.get("shift") or {}).get("ground") == "white")


def read_derived(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Return the entries of `derive.datasets` of params.yaml as plain values; empty without that section."""
    datasets = (read_params(workspace.params).get("derive") or {}).get("datasets") or {}
    return {name: dataset or {} for name, dataset in datasets.items()}
