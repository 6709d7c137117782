"""The step `profile`: measure every catalog for people and for later drift comparisons.

Reads the outputs of `ingest` and `caption`; writes reports/catalog/, which no stage depends on.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fclip
from fclip.catalog.config import IngestConfig
from fclip.errors import UserError
from fclip.evaluation.config import EvaluateConfig
from fclip.files import read_json, sha256_code, sha256_file, write_json
from fclip.profile.config import DriftConfig
from fclip.profile.drift import Drift, compare_profiles
from fclip.profile.profile import Profile, profile_from_json
from fclip.registry.store import read_artifact
from fclip.remembered import recall, remember
from fclip.shifts.config import DerivedDataset
from fclip.shifts.counts import COUNTS
from fclip.shifts.kinds.registry import shift_kinds
from tasks.base_model import read_base_model_pin
from tasks.workspace.params import Base, load_section, read_params
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_champion
from tasks.workspace.roles import made_of

if TYPE_CHECKING:
    from fclip.profile.derived import DerivedFolder


def profile(workspace: Workspace, dataset: str | None = None) -> dict[str, Profile]:
    """Measure all catalogs, or only `dataset`, and write their pages; for all, also reports/catalog/profile.json.

    Catalogs that have not changed since they were all measured are not measured again.
    """
    state = _state(workspace) if dataset is None else None
    stored = recall(workspace.measured_profiles, state)
    if stored is not None and stored == _written(workspace):
        return {name: profile_from_json(each) for name, each in read_json(workspace.profile).items()}
    profiles = measure_catalogs(workspace, dataset)
    if dataset is None:
        write_profiles(workspace, profiles)
    write_pages(workspace, profiles)
    remember(workspace.measured_profiles, state, _written(workspace))
    return profiles


def _state(workspace: Workspace) -> Any | None:
    """Everything that the profiles and their pages depend on; None before the catalogs exist."""
    params = read_params(workspace.params)
    names = list(params["ingest"]["datasets"])
    files = [
        path for name in names for path in (workspace.catalog(name) / "products.parquet", workspace.captions(name))
    ]
    if not all(path.is_file() for path in files):
        return None
    derived = {name: workspace.derived(name) / "products.parquet" for name in made_of(workspace)}
    package = Path(fclip.__file__).parent
    return {
        "code": sha256_code(package / name for name in ("catalog", "pages", "profile", "shifts")),
        "params": [params["base"], params["ingest"], params["evaluate"], params.get("derive")],
        "files": [sha256_file(path) for path in files],
        "derived": {name: sha256_file(path) if path.is_file() else None for name, path in derived.items()},
        "context_length": _context_length(workspace),
    }


def _written(workspace: Workspace) -> list[str] | None:
    """The digests of profile.json and of all pages; None if one is missing."""
    names = read_params(workspace.params)["ingest"]["datasets"]
    files = [workspace.profile, *map(workspace.catalog_page, names)]
    return [sha256_file(path) for path in files] if all(path.is_file() for path in files) else None


def measure_catalogs(workspace: Workspace, dataset: str | None = None) -> dict[str, Profile]:
    """Return profiles by dataset, in the order of params.yaml, of all datasets or only of `dataset`.

    Raises:
        UserError: `dataset` is unknown, or a dataset is not ingested and captioned.
    """
    from fclip.profile.measure import measure_dataset  # pyarrow and numpy take a moment to import

    datasets = load_section(workspace, "ingest", IngestConfig).datasets
    if dataset is not None and dataset not in datasets:
        raise UserError(f"ingest.datasets of {workspace.params}: no dataset `{dataset}`; it has {', '.join(datasets)}")
    evaluated = load_section(workspace, "evaluate", EvaluateConfig).datasets
    labels = {name: evaluation.label for name, evaluation in evaluated.items()}
    return {
        name: measure_dataset(
            name,
            catalog_dir=workspace.catalog(name),
            captions_path=workspace.captions(name),
            label=labels.get(name),
            context_length=_context_length(workspace),
        )
        for name in ([dataset] if dataset else datasets)
    }


def write_profiles(workspace: Workspace, profiles: Mapping[str, Profile]) -> None:
    """Write reports/catalog/profile.json, which `register` stores with a model."""
    write_json(workspace.profile, {name: each.to_json() for name, each in profiles.items()})


def write_pages(workspace: Workspace, profiles: Mapping[str, Profile]) -> None:
    """Write one page per dataset, reports/catalog/<dataset>.html."""
    from fclip.profile.page import write_page  # matplotlib takes a second to import

    base = load_section(workspace, "base", Base)
    datasets = load_section(workspace, "ingest", IngestConfig).datasets
    for name, each in profiles.items():
        write_page(
            each,
            workspace.catalog_page(name),
            catalog_dir=workspace.catalog(name),
            images_dir=workspace.images(name),
            workspace=base.workspace,
            roles=datasets[name].roles,
            derived=_derived_of(workspace, name),
        )


def _derived_of(workspace: Workspace, dataset: str) -> "list[DerivedFolder]":
    """The derived datasets that are made of `dataset`, as far as they exist."""
    from fclip.profile.derived import DerivedFolder  # pyarrow takes a moment to import

    found = []
    for name, original in made_of(workspace).items():
        if original == dataset and (workspace.derived(name) / COUNTS).is_file():
            shift = load_section(workspace, f"derive.datasets.{name}", DerivedDataset).shift
            found.append(DerivedFolder(name, shift_kinds()[shift.kind].description, workspace.derived(name)))
    return found


def drift(workspace: Workspace, profiles: Mapping[str, Profile]) -> Drift:
    """Compare the training catalogs with the profiles stored with the pinned champion.

    Raises:
        UserError: the registry does not have the pinned version.
    """
    pin = read_champion(workspace)
    if pin is None:
        return Drift("no champion", notes=("the catalog was not compared: before this run there was no champion",))
    against = pin.title
    stored = read_artifact(pin, workspace.profile.name)
    if stored is None:
        return Drift(against, notes=(f"the champion, {against}, has no profile; the catalog was not compared",))
    config = load_section(workspace, "drift", DriftConfig)
    ingest = load_section(workspace, "ingest", IngestConfig)
    current = {name: each for name, each in profiles.items() if name in ingest.training_datasets}
    try:
        # Leave out datasets that still exist but are not training datasets now. A removed dataset counts as drift.
        reference = {
            name: profile_from_json(each)
            for name, each in stored.items()
            if name in current or name not in ingest.datasets
        }
    except UserError as error:
        return Drift(against, notes=(f"the catalog was not compared with the champion, {against}: {error}",))
    return compare_profiles(reference, current, config, against=against)


def _context_length(workspace: Workspace) -> int | None:
    """The context length of the pinned base model in tokens; None if the model is not in the cache."""
    pin = read_base_model_pin(workspace)
    path = workspace.model_cache / (pin.model_sha256 if pin else "none") / "open_clip_config.json"
    return int(read_json(path)["model_cfg"]["text_cfg"].get("context_length", 77)) if path.is_file() else None
