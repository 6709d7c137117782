"""The table of ablation results."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.ablation.run import AblationResult

COLUMNS = {
    "kagl wF1": ("kagl", "classification.weighted_f1"),
    "kagl R@10": ("kagl", "retrieval.text_to_image.recall_at_10"),
    "clothing acc.": ("clothing", "classification.acc1"),
    "fmnist acc.": ("fmnist", "classification.acc1"),
    "fmnist wF1": ("fmnist", "classification.weighted_f1"),
}


def show_results(console: Console, rows: Sequence[AblationResult]) -> None:
    """Print one row per variant. Each score is followed by the score of the base model."""
    table = Table(title="Score of the last candidate (score of the base model)", title_justify="left")
    table.add_column("")
    for column in ("passes", "minutes", *COLUMNS):
        table.add_column(column, justify="right")
    for row in rows:
        scores = [
            f"{row.scores[name][metric]:.3f} ({row.base_model[name][metric]:.3f})" for name, metric in COLUMNS.values()
        ]
        table.add_row(row.key["name"], str(row.key["epochs"]), f"{row.minutes:.1f}", *scores)
    console.print(table)
