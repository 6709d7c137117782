"""Stage `average`: candidates in between, by averaging the weights of those that training left.

    python -m tasks.average

Reads models/finetune and, for the soup, what selects in domain; writes models/average: the list of all candidates with
how far each is from the start, and a folder for each average, which says what it is mixed of.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fclip.errors import UserError
from fclip.files import atomic_dir, read_json, write_json
from fclip.models.store import load, model_sha256, save
from fclip.models.weights import Part, distance, same_names, write_mixture
from fclip.selection.config import AverageConfig
from fclip.selection.soup import greedy_soup
from tasks.evaluate import evaluate_on
from tasks.workspace.params import load_section, read_params
from tasks.workspace.paths import Workspace
from tasks.workspace.process import run_stage

logger = logging.getLogger(__name__)
START, STEP, SOUP = "start", "step-", "soup"


def average(workspace: Workspace) -> None:
    """Write models/average: `candidates.json`, and `candidates/<name>/` for each average.

    Raises:
        UserError: the candidates are missing, or an in-domain dataset that selects is.
    """
    if not (workspace.finetune / "candidates.json").is_file():
        raise UserError(f"{workspace.finetune} holds no candidates: run `dvc pull`, or `dvc repro finetune`")
    config = load_section(workspace, "average", AverageConfig)
    listed: list[dict[str, Any]] = read_json(workspace.finetune / "candidates.json")
    trained = [entry for entry in listed if entry["name"].startswith(STEP)]
    with atomic_dir(workspace.averages) as temporary:
        folders = {entry["name"]: workspace.finetune / "candidates" / entry["name"] for entry in listed}
        if trained and not same_names(folders[START], folders[trained[-1]["name"]]):
            folders[START] = _as_trained(folders[START], temporary / START)
        mixed = {entry["name"]: ({entry["name"]: 1.0}, entry) for entry in trained}
        soup = _soup(workspace, {entry["name"]: folders[entry["name"]] for entry in trained}) if config.soup else ()
        if len(soup) > 1:
            logger.info("the soup is of %s", ", ".join(soup))
            mixed[SOUP] = _mean(soup), max((e for e in trained if e["name"] in soup), key=lambda e: e["step"])
            listed.append(_write(folders, temporary, SOUP, *mixed[SOUP]))
        for name, (parts, entry) in mixed.items():
            for share in config.interpolation:
                between = {START: 1 - share, **{part: share * own for part, own in parts.items()}}
                listed.append(_write(folders, temporary, f"{name}-at-{share:.2f}", between, entry))
        for entry in listed:
            folder = folders.get(entry["name"], temporary / "candidates" / entry["name"])
            far = distance(folder, folders[START])
            entry["distance"] = round(far, 9) if far < float("inf") else None
        write_json(temporary / "candidates.json", listed)
    logger.info("%d candidates, %d of them averages", len(listed), sum("parts" in entry for entry in listed))


def _as_trained(start: Path, folder: Path) -> Path:
    """The start with its tensors under the names that training gives them: open_clip mends some as it loads."""
    folder.mkdir()
    save(load(start).model.state_dict(), config_from=start, out_dir=folder)
    return folder


def _write(
    folders: Mapping[str, Path], out_dir: Path, name: str, parts: Mapping[str, float], entry: Mapping[str, Any]
) -> dict[str, Any]:
    """Write an average's folder, and return its entry in the list."""
    folder = out_dir / "candidates" / name
    folder.mkdir(parents=True)
    write_mixture(folder, [Part(folders[part], share) for part, share in parts.items()])
    return {**entry, "name": name, "model_sha256": model_sha256(folder), "parts": parts}


def _mean(names: Sequence[str]) -> dict[str, float]:
    return {name: 1 / len(names) for name in names}


def _soup(workspace: Workspace, folders: Mapping[str, Path]) -> tuple[str, ...]:
    """What the greedy soup is made of, by the primary metric in domain; nothing where no such dataset selects."""
    datasets = read_params(workspace.params)["ingest"]["datasets"]
    in_domain = [name for name, one in datasets.items() if {"train", "select"} <= set(one["roles"].values())]
    if not in_domain:
        logger.warning("no dataset that trains has a split with the role select: there is no soup")
        return ()
    scores = _scores(workspace, in_domain, folders)
    finite = {name: score for name, score in scores.items() if score is not None}
    if not finite:
        return ()

    def score_of_mean(chosen: Sequence[str]) -> float:
        with TemporaryDirectory(dir=workspace.finetune.parent, prefix=".soup-") as folder:
            write_mixture(Path(folder), [Part(folders[name], 1 / len(chosen)) for name in chosen])
            score = _scores(workspace, in_domain, {SOUP: Path(folder)})[SOUP]
        return float("-inf") if score is None else score

    return greedy_soup(finite, score_of_mean)


def _scores(workspace: Workspace, datasets: Sequence[str], folders: Mapping[str, Path]) -> dict[str, float | None]:
    """The mean primary metric of each model on what selects of `datasets`; None where features are not finite."""
    found: dict[str, list[float]] = {name: [] for name in folders}
    broken: set[str] = set()
    for dataset in datasets:
        evaluation = evaluate_on(workspace, folders, dataset, roles=("select",), primary_only=True)
        for name in folders:
            splits = [entry for entry in evaluation.scores if entry.model == name and entry.primary]
            total = sum(entry.num_items for entry in splits)
            found[name].append(sum(entry.num_items * entry.estimate.value for entry in splits) / total)
            if evaluation.num_nonfinite[name]:
                broken.add(name)
    return {name: None if name in broken else sum(own) / len(own) for name, own in found.items()}


if __name__ == "__main__":
    run_stage("average", average)
