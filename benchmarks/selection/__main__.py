"""Train the runs of the selection study on a shop made from KAGL, and score them on five out-of-domain datasets.

python -m benchmarks.selection --work DIR [--regimes NAME ...] [--seeds N ...]

A run is a regime of benchmarks/selection/regimes.yaml with a seed. Its table is written to benchmarks/selection/runs.
Trained models stay in DIR, and a run whose table exists is skipped. Then:

python -m benchmarks.selection.study --table benchmarks/selection/runs/full-2.parquet [--table ...]
"""

import argparse
from pathlib import Path

from benchmarks.paths import DATASETS
from benchmarks.selection.run import PARAMS, TRAINED, StudyRun, regime_names, train_run
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
    names = regime_names()
    parser.add_argument("--work", type=Path, required=True, help="folder for the workspaces and the trained models")
    parser.add_argument("--regimes", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], metavar="N")
    parser.add_argument("--methods", nargs="+", metavar="KIND", help="averaging methods. Default: those of the regime")
    parser.add_argument("--out", type=Path, default=RUNS, help="folder for the tables")
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
        methods = [{"kind": kind} for kind in arguments.methods or ()]
        average = {"average": {"methods": methods}} if methods else {}
        for seed in arguments.seeds:
            for regime in arguments.regimes:
                run = StudyRun(regime, seed)
                out = arguments.out / f"{run.name}.parquet"
                if out.is_file():
                    continue
                trained = train_run(workspace, run, work / "jobs")
                write_scores(
                    workspace,
                    trained,
                    work / "runs" / run.name,
                    sections={**run.sections, **average},
                    in_domain=TRAINED,
                    out=out,
                )
                print(out, flush=True)
    except UserError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
