"""Effect `profile`: what every catalog holds, for people before training and for the next catalog to be compared with.

Reads what `ingest` and `caption` wrote; writes reports/catalog/, which no stage depends on.
"""

from collections.abc import Mapping

from fclip.catalog.config import IngestConfig
from fclip.errors import UserError
from fclip.evaluation.config import EvaluateConfig
from fclip.files import read_json, write_json
from fclip.profile.config import DriftConfig
from fclip.profile.drift import Drift, compare_profiles
from fclip.profile.measure import measure_dataset
from fclip.profile.profile import Profile, profile_from_json
from fclip.registry.store import read_artifact
from tasks.base_model import read_base_model_pin
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_champion


def profile(workspace: Workspace, dataset: str | None = None) -> dict[str, Profile]:
    """Measure the catalogs (`dataset`'s alone, if given), and write their pages and reports/catalog/profile.json."""
    profiles = measure_catalogs(workspace, dataset)
    if dataset is None:
        write_profiles(workspace, profiles)
    write_pages(workspace, profiles)
    return profiles


def measure_catalogs(workspace: Workspace, dataset: str | None = None) -> dict[str, Profile]:
    """Profiles by dataset, in the order of params.yaml; of `dataset` alone, if given.

    Raises:
        UserError: `dataset` is unknown, or one is not ingested and captioned yet.
    """
    datasets = load_section(workspace, "ingest", IngestConfig).datasets
    if dataset is not None and dataset not in datasets:
        raise UserError(
            f"no dataset `{dataset}` in ingest.datasets of {workspace.params}: it has {', '.join(datasets)}"
        )
    judged = load_section(workspace, "evaluate", EvaluateConfig).datasets
    labels = {name: own.label for name, own in judged.items()}
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
    """Write reports/catalog/profile.json: what `register` stores with a model."""
    write_json(workspace.profile, {name: each.to_json() for name, each in profiles.items()})


def write_pages(workspace: Workspace, profiles: Mapping[str, Profile]) -> None:
    """Write a page a dataset, reports/catalog/<dataset>.html."""
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
        )


def drift(workspace: Workspace, profiles: Mapping[str, Profile]) -> Drift:
    """The catalogs that train against the profiles stored with the champion of pins/champion.json.

    Raises:
        UserError: the registry does not have the pinned version.
    """
    pin = read_champion(workspace)
    if pin is None:
        return Drift("no champion", notes=("there is no champion yet, so nothing to compare the catalog with",))
    against = pin.title
    stored = read_artifact(pin, workspace.profile.name)
    if stored is None:
        return Drift(against, notes=(f"the champion, {against}, has no profile: nothing to compare the catalog with",))
    config = load_section(workspace, "drift", DriftConfig)
    ingest = load_section(workspace, "ingest", IngestConfig)
    current = {name: each for name, each in profiles.items() if name in ingest.training_datasets}
    try:
        # A dataset that the workspace has and that is not compared now is no news; one that it lost is.
        reference = {
            name: profile_from_json(each)
            for name, each in stored.items()
            if name in current or name not in ingest.datasets
        }
    except UserError as error:
        return Drift(against, notes=(f"not compared with the champion, {against}: {error}",))
    return compare_profiles(reference, current, config, against=against)


def _context_length(workspace: Workspace) -> int | None:
    """Tokens that the pinned base model reads; None where it is not in the cache, and not worth fetching for this."""
    pin = read_base_model_pin(workspace)
    path = workspace.model_cache / (pin.model_sha256 if pin else "none") / "open_clip_config.json"
    return int(read_json(path)["model_cfg"]["text_cfg"].get("context_length", 77)) if path.is_file() else None
