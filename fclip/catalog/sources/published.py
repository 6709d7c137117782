"""Datasets that others publish: found by their description, read by the readers of files."""

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
    """A dataset that others publish, as `fclip/catalog/datasets/<dataset>.yaml` describes it.

    `path`: a local copy of its files; null: they are downloaded from the hub, once, into the hub's own cache.
    `revision`: the commit to read on the hub (null: the newest), or, with `path`, the commit that the copy is of.
    """

    kind: Literal["published"]
    dataset: str
    path: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.revision is not None and not re.fullmatch(r"[0-9a-f]{40}", self.revision):
            raise ValueError(f"revision must be null or a whole commit (40 hex digits), not `{self.revision}`")


def describe(source: PublishedSource, outside: SourceAccess) -> dict[str, object]:
    """What the dataset is now: of a local copy as its own kind of source says, of the hub its commit and files.

    The hub is asked for names, sizes and SHA-256 digests alone; the rows are those that the description states. A
    copy with a `revision` is described as the hub describes that commit.
    """
    description = load_description(source.dataset)
    found: dict[str, object]
    if source.path is None:
        files = dataset_files(_hub(source, description), description.files, source.revision)
        found = {**files, "num_rows": description.num_rows}
    elif source.revision is not None:
        found = {**_snapshot(source, description, outside), "num_rows": description.num_rows}
    else:
        match located(source):
            case HubSource() as inner:
                found = hub.describe(inner, outside)
            case TableSource() as inner:
                found = table.describe(inner, outside)
    return {**found, "kind": source.kind, "published": source.dataset}


def read(source: PublishedSource, outside: SourceAccess, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """The rows of the dataset's files: all that its description names, so published splits are not told apart.

    What is to be read from the hub must have been fetched before: see `at_pin`.
    """
    match located(source):
        case HubSource() as inner:
            return hub.read(inner, outside, limit)
        case TableSource() as inner:
            return table.read(inner, outside, limit)


def at_pin(source: PublishedSource, pin: Mapping[str, Any]) -> PublishedSource:
    """`source` as it can be read: one from the hub as its files of the pinned commit, fetched where they are not yet.

    One with a `path`, and one that the pin is not of (which `verify_pin` refuses), comes back as it is.

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


def located(source: PublishedSource) -> HubSource | TableSource:
    """The source of files that a published one with a `path` is: its description's, below that path."""
    assert source.path is not None, "at_pin gives a source from the hub its path"
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
            f"`{source.dataset}` is not on the hub: download it from {description.home} and give `path` the folder "
            f"with {', '.join(description.files)}"
        )
    return description.hub


def _snapshot(source: PublishedSource, description: Description, outside: SourceAccess) -> dict[str, object]:
    assert source.path is not None
    if description.hub is None:
        raise UserError(f"`{source.dataset}` is not on the hub, so it has no commits: its `revision` must be null")
    folder = outside.folder(source.path, patterns=description.files)
    names = sorted(file.relative_to(folder).as_posix() for file in parquet_files(folder, description.files))
    files = [{**describe_file(folder / name), "name": name} for name in names]
    return {"repo": description.hub, "revision": source.revision, "files": files}


PUBLISHED = SourceKind(
    kind="published",
    label="published dataset",
    description="A dataset that others publish: its files on the Hugging Face hub, or a local copy of them.",
    config=PublishedSource,
    describe=describe,
    read=read,
    at_pin=at_pin,
)
