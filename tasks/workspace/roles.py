"""What each dataset of a workspace is used for: who trains, who selects, who reports."""

from fclip.catalog.roles import Roles
from tasks.workspace.params import parse, read_params
from tasks.workspace.paths import Workspace


def read_roles(workspace: Workspace) -> dict[str, Roles]:
    """The roles of every dataset in `ingest.datasets` of params.yaml, without the rest of its section.

    A stage that needs no more than roles depends on no kind of source, so a change to one does not rerun it.

    Raises:
        UserError: a dataset has no mapping `roles`.
    """
    datasets = read_params(workspace.params).get("ingest", {}).get("datasets", {})
    return {
        name: Roles(parse(f"ingest.datasets.{name}.roles", (dataset or {}).get("roles"), dict[str, str]))
        for name, dataset in datasets.items()
    }
