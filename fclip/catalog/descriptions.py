"""Descriptions of published datasets, one YAML file each in `fclip/catalog/datasets/`.

Adding a file there adds a dataset; no other change is needed.
"""

import math
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeAlias

import yaml

from fclip.catalog.reading.records import mapped_columns
from fclip.catalog.sources.hub import HubSource
from fclip.catalog.sources.table import TableSource
from fclip.config import ByKind, config, parse_config
from fclip.errors import UserError

DATASETS = Path(__file__).parent / "datasets"
FileSource: TypeAlias = Annotated[HubSource | TableSource, ByKind(lambda: (HubSource, TableSource))]


@config
class PublishedTask:
    """A retrieval task as the publishers of a dataset evaluate it, in terms of the dataset's columns.

    A row is found by the sum of the normalised embeddings of its `documents`, each times its weight, normalised again.
    """

    name: str
    """Name of the task, as published."""
    query: str
    """Column of the queries: each of its values is a query, and the rows with this value are relevant."""
    documents: dict[str, float]
    """Columns that a row is found by, with their weights."""

    def __post_init__(self) -> None:
        if not self.documents:
            raise ValueError("documents must name at least one column")
        for column, weight in self.documents.items():
            if not (math.isfinite(weight) and weight > 0):
                raise ValueError(f"documents must have weights above 0, not {weight} (of `{column}`)")


@config
class Description:
    """A published dataset: where it is, how it is read, which columns are classes, how its publishers evaluate it."""

    title: str
    """Name of the dataset for people."""
    home: str
    """Its home page."""
    hub: str | None
    """Its repository on the Hugging Face hub; null: none."""
    licence: str | None
    """Its licence; null: not stated."""
    num_rows: int
    """Number of rows, as its publishers state it."""
    source: FileSource
    """How its files are read, as in params.yaml; paths and patterns are relative to the folder with the files."""
    label_sets: list[str]
    """Attributes whose values are classes."""
    tasks: list[PublishedTask]
    """Retrieval tasks that its publishers evaluate."""
    facts: list[str]
    """Where the statements here come from."""
    unverified: list[str]
    """Statements that no source confirms."""

    def __post_init__(self) -> None:
        paths = {"source.path": [self.source.path], **_more_paths(self.source)}
        for key, names in paths.items():
            for name in names:
                if not _stays_inside(name):
                    raise ValueError(f"{key} must stay in the dataset's folder, not `{name}`")
        if isinstance(self.source, HubSource) and self.source.path != ".":
            raise ValueError(f"source.path must be `.` where source.kind is hub, not `{self.source.path}`: see files")
        if self.hub is not None and self.source.kind == "table":
            raise ValueError("hub must be null where source.kind is table: the hub ships images inside Parquet files")
        if not self.facts:
            raise ValueError("facts must say where the description is from")
        columns = mapped_columns(self.source)
        for task in self.tasks:
            for column in (task.query, *task.documents):
                if column not in columns:
                    raise ValueError(
                        f"tasks must name columns that source maps ({', '.join(columns)}), "
                        f"not `{column}` (of `{task.name}`)"
                    )
        for name in self.label_sets:
            if name not in self.source.attributes:
                known = ", ".join(self.source.attributes)
                raise ValueError(f"label_sets must name attributes of source ({known}), not `{name}`")
        for key, values in (("tasks", [task.name for task in self.tasks]), ("label_sets", self.label_sets)):
            if twice := [value for value in values if values.count(value) > 1]:
                raise ValueError(f"{key} must have each name once, not `{twice[0]}` twice")

    @property
    def files(self) -> tuple[str, ...]:
        """The patterns of the dataset's files, below its folder."""
        match self.source:
            case HubSource():
                return self.source.files
            case TableSource():
                return (self.source.path, f"{self.source.image_folder}/*")


def known_datasets(folder: Path = DATASETS) -> list[str]:
    """Return the sorted names of the described datasets."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_description(name: str, folder: Path = DATASETS) -> Description:
    """Return the description of a dataset.

    Raises:
        UserError: the name is unknown or its file is invalid; the message names the file and the key.
    """
    known = known_datasets(folder)
    if name not in known:
        raise UserError(f"unknown published dataset `{name}`; choose one of {', '.join(known)}")
    return _load(folder / f"{name}.yaml")


def _load(path: Path) -> Description:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error}); save it as UTF-8") from error
    return parse_description(text, where=path)


def parse_description(text: str, *, where: object) -> Description:
    """Parse a description from YAML. Raise UserError that names `where` and the key of every fault."""
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{where} must be a mapping, not {type(value).__name__}")
    return parse_config(value, Description, where=where)


def _more_paths(source: HubSource | TableSource) -> dict[str, list[str]]:
    match source:
        case HubSource():
            return {"source.files": list(source.files)}
        case TableSource():
            return {"source.image_folder": [] if source.image_folder is None else [source.image_folder]}


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and not set(name) & {"\\", "\0"}
