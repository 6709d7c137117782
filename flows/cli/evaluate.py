"""The commands `evaluate` and `compare`, which evaluate any model on any dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fclip.errors import UserError
from fclip.files import write_json
from flows.cli.here import workspace_here
from flows.cli.terminal import console
from tasks.workspace.paths import Workspace

if TYPE_CHECKING:
    from fclip.evaluation.run import MetricScore
    from fclip.report.changes import MetricChange

MODEL_FORMS = (
    "A model folder, the word `selected` (the selected model), a candidate name, a registry version or alias, "
    "`fclip-tiny`, or a hub repository"
)
Dataset = Annotated[
    str,
    typer.Argument(
        help="A dataset in `evaluate.datasets` or `derive.datasets`, or a published one (see `fclip datasets`)."
    ),
]
ParamsFile = Annotated[
    Path | None,
    typer.Option("--params", help="Params file that configures the dataset. Default: params.yaml."),
]
LocalCopy = Annotated[
    Path | None,
    typer.Option("--path", help="Folder with a local copy of a published dataset. Default: download from the hub."),
]
AllMetrics = Annotated[bool, typer.Option("--all", help="Show every metric. Default: the headline metrics only.")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Largest number of rows to read. Ignored for datasets of the workspace.")
]


def evaluate(
    model: Annotated[str, typer.Argument(help=f"The model to evaluate. {MODEL_FORMS}.")],
    dataset: Dataset,
    params: ParamsFile = None,
    path: LocalCopy = None,
    limit: Limit = None,
    everything: AllMetrics = False,
    out: Annotated[Path | None, typer.Option(help="JSON file to write all metrics to.")] = None,
) -> None:
    """Evaluate any model on any dataset, with every evaluation protocol of the dataset and confidence intervals."""
    from fclip.evaluation.table import long_table
    from tasks.model_evaluation import model_folders, score_models

    workspace = workspace_here()
    data = dataset_workspace(workspace, dataset, params, path, limit)
    evaluation = score_models(workspace, model_folders(workspace, model), dataset, data)
    table = Table(title=f"{model} on {dataset}", title_justify="left", box=None)
    for column in ("split", "role", "metric"):
        table.add_column(column)
    for column in ("items", "value", "interval"):
        table.add_column(column, justify="right")
    shown = evaluation.scores if everything else [s for s in evaluation.scores if _is_headline(s)]
    for entry in shown:
        estimate = entry.estimate
        table.add_row(
            entry.split,
            entry.role,
            f"{entry.protocol}.{entry.metric}" + (" *" if entry.primary else ""),
            str(entry.num_items),
            f"{estimate.value:.3f}",
            f"{estimate.low:.3f}–{estimate.high:.3f}",
            style=_style(entry.primary, entry.num_items),
        )
    console.print(table)
    console.print(
        f"* primary metric (used for selection and the gate); dim: fewer than {_min_items()} items", style="dim"
    )
    _print_num_hidden(len(evaluation.scores) - len(shown))
    if out is not None:
        write_json(out, long_table(evaluation, {}).to_pylist())
        console.print(f"Wrote all metrics to {out}", highlight=False, soft_wrap=True)


def compare(
    before: Annotated[str, typer.Argument(help=f"The model to compare with. {MODEL_FORMS}.")],
    after: Annotated[
        str, typer.Argument(help="The other model, named in the same way. Changes are AFTER minus BEFORE.")
    ],
    dataset: Dataset,
    params: ParamsFile = None,
    path: LocalCopy = None,
    limit: Limit = None,
    everything: AllMetrics = False,
    out: Annotated[Path | None, typer.Option(help="HTML page to write. Default: in reports/comparisons/.")] = None,
) -> None:
    """Compare two models on the same items: the change of every metric and slice, with intervals and example images."""
    from fclip.report.comparison import write_comparison_page
    from tasks.model_evaluation import dataset_comparison, model_folders, same_weights, score_models

    workspace = workspace_here()
    refusal = UserError(f"{before} and {after} are the same model; name two different models")
    if before == after:
        raise refusal
    models = model_folders(workspace, before, after)
    if same_weights(models[before], models[after]):
        raise refusal
    data = dataset_workspace(workspace, dataset, params, path, limit)
    evaluation = score_models(workspace, models, dataset, data)
    comparison = dataset_comparison(data, evaluation, before, after)
    table = Table(title=f"{after} compared with {before} on {dataset}", title_justify="left", box=None)
    for column in ("split", "role", "metric"):
        table.add_column(column)
    for column in ("items", "before", "after", "change", "interval"):
        table.add_column(column, justify="right")
    shown = comparison.changes if everything else [c for c in comparison.changes if _is_headline(c)]
    for change in shown:
        difference = change.difference
        table.add_row(
            change.split,
            change.role,
            f"{change.protocol}.{change.metric}" + (" *" if change.primary else ""),
            str(change.num_items),
            f"{change.before.value:.3f}",
            f"{change.after.value:.3f}",
            f"{difference.value:+.3f}",
            f"{difference.low:+.3f} to {difference.high:+.3f}",
            style=_colour(change),
        )
    console.print(table)
    legend = "* primary metric (used for selection and the gate); coloured: the interval (paired bootstrap) excludes 0"
    console.print(legend, style="dim")
    _print_num_hidden(len(comparison.changes) - len(shown))
    page = write_comparison_page([comparison], out or workspace.comparison(dataset, before, after))
    console.print(f"Wrote the page {page}", highlight=False, soft_wrap=True)


def _colour(change: "MetricChange") -> str | None:
    """Green for a gain, red for a loss, None if the interval contains 0 or the metric has no better direction."""
    from fclip.evaluation.protocols.registry import direction

    gain = change.difference.value * direction(change.metric)
    if not change.difference.excludes_zero or not gain:
        return None
    return "green" if gain > 0 else "red"


def _is_headline(entry: "MetricScore | MetricChange") -> bool:
    """Whether the row is shown without --all."""
    from fclip.evaluation.protocols.registry import protocols

    return entry.primary or entry.metric in protocols()[entry.kind].headlines


def _style(primary: bool, num_items: int) -> str | None:
    return "bold" if primary else "dim" if num_items < _min_items() else None


def _min_items() -> int:
    from fclip.report.comparison import MIN_RELIABLE_ITEMS  # matplotlib takes its time to import

    return MIN_RELIABLE_ITEMS


def _print_num_hidden(number: int) -> None:
    if number:
        console.print(f"{number} more metrics; show them with --all", style="dim")


def dataset_workspace(
    workspace: Workspace, dataset: str, params: Path | None, path: Path | None, limit: int | None
) -> Workspace:
    """The workspace that contains the dataset: this one, or one prepared in its cache."""
    from tasks.external_dataset import prepare_external
    from tasks.workspace.params import read_params

    if params is not None and path is not None:
        raise UserError("--params and --path exclude each other; give one of them")
    if (
        params is None
        and path is None
        and dataset in read_params(workspace.params).get("evaluate", {}).get("datasets", {})
    ):
        if limit is not None:
            raise UserError(f"--limit does not apply to {dataset}, which the workspace has ingested; remove the option")
        return workspace
    return prepare_external(workspace, dataset, params=params, path=path, limit=limit)
