"""Runs for the study of selection rules: trained on a shop out of KAGL, scored on five domains that it never shows.

python -m benchmarks.selection --work DIR [--regimes NAME ...] [--seeds N ...]

A run is a regime of benchmarks/selection/regimes.yaml and a seed; its table goes to benchmarks/selection/runs. What is
trained stays in DIR, and a table that is there is not made again. Then:

python -m benchmarks.selection.study --table benchmarks/selection/runs/full-0.parquet [--table ...]
"""

import argparse
from pathlib import Path

from benchmarks.paths import DATASETS
from benchmarks.selection.run import PARAMS, TRAINED, StudyRun, regimes, train
from benchmarks.selection.scores import write_scores
from benchmarks.selection.shop import write_shop
from benchmarks.selection.tables import RUNS
from benchmarks.workspaces import lay_out_workspace
from fclip.errors import UserError
from tasks.workspace.params import read_params
from tasks.workspace.paths import Workspace

KAGL = "kagl"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.selection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = regimes()
    parser.add_argument("--work", type=Path, required=True, help="where datasets are laid out, and models stay")
    parser.add_argument("--regimes", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], metavar="N")
    parser.add_argument("--out", type=Path, default=RUNS, help="where the tables go")
    arguments = parser.parse_args()
    work: Path = arguments.work.resolve()
    try:
        workspace = Workspace(work / "workspace")
        if not workspace.training.is_dir():
            kagl = Workspace(work / KAGL)
            if not kagl.training.is_dir():
                lay_out_workspace(kagl.root, DATASETS, [KAGL], limit=None, device="auto")
            write_shop(kagl, workspace.root / TRAINED)
            datasets = list(read_params(PARAMS)["ingest"]["datasets"])
            lay_out_workspace(workspace.root, DATASETS, datasets, preset=PARAMS, limit=None, device="auto")
        for seed in arguments.seeds:
            for regime in arguments.regimes:
                run = StudyRun(regime, seed)
                out = arguments.out / f"{run.name}.parquet"
                if out.is_file():
                    continue
                trained = train(workspace, run, work / "jobs")
                write_scores(
                    workspace,
                    trained,
                    work / "runs" / run.name,
                    sections=run.sections,
                    in_domain=TRAINED,
                    out=out,
                )
                print(out, flush=True)
    except UserError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
