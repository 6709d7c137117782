"""Published datasets: located by their description and read as a hub or table source."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from fclip.catalog.descriptions import Description, load_description
from fclip.catalog.reading.files import describe_file, parquet_files
from fclip.catalog.rows import RefusedRow, SourceRow
from fclip.catalog.sources import hub, table
from fclip.catalog.sources.hub import HubSource
from fclip.catalog.sources.registry import SourceKind
from fclip.catalog.sources.table import TableSource
from fclip.config import config
from fclip.errors import UserError
from fclip.mirror.addresses import is_remote
from fclip.mirror.hub import dataset_files, fetch_dataset
from fclip.mirror.source_access import SourceAccess


@config
class PublishedSource:
    """A published dataset, as `fclip/catalog/datasets/<dataset>.yaml` describes it."""

    kind: Literal["published"]
    dataset: str
    """Its name; `fclip datasets` lists the names."""
    path: str | None = None
    """Folder with a local copy of its files, or a remote address; null: download from the Hugging Face hub once."""
    revision: str | None = None
    """Commit of the dataset on the hub (40 hex digits), also of a local copy; null: the newest."""

    def __post_init__(self) -> None:
        if self.revision is not None and not re.fullmatch(r"[0-9a-f]{40}", self.revision):
            raise ValueError(f"revision must be null or a whole commit (40 hex digits), not `{self.revision}`")


def describe(source: PublishedSource, access: SourceAccess) -> dict[str, object]:
    """Return the current facts of the dataset: of a local copy by its kind of source, of the hub its commit and files.

    From the hub only names, sizes and SHA-256 digests are requested; the number of rows is that of the description. A
    copy with a `revision` has the same facts as that commit on the hub.
    """
    description = load_description(source.dataset)
    facts: dict[str, object]
    if source.path is None:
        files = dataset_files(_hub(source, description), description.files, source.revision)
        facts = {**files, "num_rows": description.num_rows}
    elif source.revision is not None:
        facts = {**_snapshot(source, description, access), "num_rows": description.num_rows}
    else:
        match file_source(source):
            case HubSource() as inner:
                facts = hub.describe(inner, access)
            case TableSource() as inner:
                facts = table.describe(inner, access)
    return {**facts, "kind": source.kind, "published": source.dataset}


def read(source: PublishedSource, access: SourceAccess, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """Yield the rows of all files of the description; published splits are read as one table.

    Files from the hub must have been fetched before; see `at_pin`.
    """
    match file_source(source):
        case HubSource() as inner:
            return hub.read(inner, access, limit)
        case TableSource() as inner:
            return table.read(inner, access, limit)


def at_pin(source: PublishedSource, pin: Mapping[str, Any]) -> PublishedSource:
    """Return `source` with the path of its files. The files of the pinned commit are fetched from the hub if missing.

    A source with a `path` is returned unchanged, and so is a source that the pin does not match (`verify_pin` refuses
    it).

    Raises:
        UserError: the files are not in the hub's cache and cannot be downloaded.
    """
    if source.path is not None:
        return source
    description = load_description(source.dataset)
    repo, revision = _hub(source, description), pin.get("revision")
    if revision is None or pin.get("repo") != repo or source.revision not in (None, revision):
        return source
    sizes = {file["name"]: file["bytes"] for file in pin["files"]}
    folder = fetch_dataset(repo, description.files, revision, sizes)
    return replace(source, path=str(folder), revision=revision)


def file_source(source: PublishedSource) -> HubSource | TableSource:
    """Return the description's source with its paths below the `path` of the published source."""
    assert source.path is not None, "at_pin sets the path of a source from the hub"
    inner = load_description(source.dataset).source
    path = _below(source.path, inner.path)
    match inner:
        case HubSource():
            return replace(inner, path=path)
        case TableSource():
            folder = None if inner.image_folder is None else _below(source.path, inner.image_folder)
            return replace(inner, path=path, image_folder=folder)


def _below(folder: str, path: str) -> str:
    if not is_remote(folder):
        return str(Path(folder) / path)
    return folder if path == "." else f"{folder.rstrip('/')}/{path}"


def _hub(source: PublishedSource, description: Description) -> str:
    if description.hub is None:
        raise UserError(
            f"`{source.dataset}` is not on the hub; download it from {description.home} and set `path` to the "
            f"folder with {', '.join(description.files)}"
        )
    return description.hub


def _snapshot(source: PublishedSource, description: Description, access: SourceAccess) -> dict[str, object]:
    assert source.path is not None
    if description.hub is None:
        raise UserError(f"`{source.dataset}` is not on the hub, so it has no commits; set its `revision` to null")
    folder = access.folder(source.path, patterns=description.files)
    names = sorted(file.relative_to(folder).as_posix() for file in parquet_files(folder, description.files))
    files = [{**describe_file(folder / name), "name": name} for name in names]
    return {"repo": description.hub, "revision": source.revision, "files": files}


PUBLISHED = SourceKind(
    kind="published",
    label="published dataset",
    description="A published dataset: its files on the Hugging Face hub, or a local copy of them.",
    config=PublishedSource,
    describe=describe,
    read=read,
    at_pin=at_pin,
)
