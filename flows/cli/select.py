"""The command `select`: show the three picks of the last selection, or take another one."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from fclip.errors import UserError
from fclip.selection.preferences import PICKS, Preference
from flows.cli.flow_run import Wait
from flows.cli.here import workspace_here
from flows.cli.terminal import console

if TYPE_CHECKING:
    from fclip.report.inputs import CandidateScores
    from fclip.selection.result import SelectionResult


def select(
    prefer: Annotated[
        Preference | None,
        typer.Option(help="Take this pick: set select.prefer in params.yaml, and run what depends on it."),
    ] = None,
    wait: Wait = True,
) -> None:
    """Show three picks among the trained models, with what each costs on the catalog and wins elsewhere.

    Another pick goes through the same gate as every new model: it is selected, audited, registered, compared with the
    champion, and promoted if it is significantly better. Nothing is trained again.

    Examples: `fclip select`, `fclip select --prefer elsewhere`.
    """
    from tasks.selection_result import read_scores, read_selection

    workspace = workspace_here()
    if prefer is None:
        console.print(_table(read_selection(workspace), read_scores(workspace)))
        return
    from flows.cli.retrain import retrain
    from flows.edit_params import set_param

    if set_param(workspace.params, "select", "prefer", prefer):
        console.print(f"Set select.prefer in {workspace.params} to {prefer}", highlight=False, soft_wrap=True)
    retrain(wait=wait)


def _table(selection: "SelectionResult", scores: "CandidateScores") -> Table:
    """The picks of a selection; raises UserError if it has none."""
    if not selection.picks:
        raise UserError("the last selection is of an older version and has no picks; run `fclip retrain`")
    from fclip.evaluation.protocols.registry import held_label

    elsewhere = scores.elsewhere(selection.in_domain_datasets)
    table = Table(title="picks", title_justify="left", box=None)
    table.add_column("pick")
    table.add_column("candidate")
    for heading in (*(f"loss: {escape(held_label(name))}" for name in selection.held_metrics), *map(escape, elsewhere)):
        table.add_column(heading, justify="right")
    named = [(PICKS[choice.prefer].label, choice.winner, choice.prefer) for choice in selection.picks if choice.prefer]
    for label, winner, preference in [*named, ("base model", selection.base.name, None)]:
        is_selected = preference == selection.prefer
        values = scores.report.get(winner, {})
        table.add_row(
            f"{label} (selected)" if is_selected else label,
            escape(winner),
            *(f"{100 * score.deficit:.1f}" for score in selection.candidate(winner).held.values()),
            *(f"{values[name].value:.3f}" if name in values else "–" for name in elsewhere),
            style="bold" if is_selected else None,
        )
    table.caption = (
        "loss: points below the best candidate on the selection data; other datasets: the primary metric on report "
        "data. `fclip select --prefer catalog|balanced|elsewhere` takes another pick."
    )
    table.caption_justify = "left"
    return table
