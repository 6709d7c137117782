"""The roles of the datasets of a workspace: train, select, report."""

from fclip.catalog.roles import Roles
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
