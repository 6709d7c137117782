"""Files of a source: there or not, what a folder lists, and which image a cell names."""

import os
from pathlib import Path

from fclip.catalog.rows import Refusal
from fclip.errors import UserError
from fclip.files import sha256_file, sha256_json


def require_file(path: Path) -> Path:
    """`path`, or UserError when no file has the name."""
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {what}: put the file there, or mend its `path` in params.yaml")
    return path


def require_folder(path: Path) -> Path:
    """`path`, or UserError when no folder has the name."""
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        raise UserError(f"{path} {what}: put the folder there, or mend its path in params.yaml")
    return path


def describe_file(path: Path) -> dict[str, object]:
    """Name, size and content digest of a file."""
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def describe_folder(folder: Path) -> dict[str, object]:
    """Number, size and listing digest (names and sizes; no times, no content) of the files in a folder."""
    listing = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in names:
            path = Path(parent) / name
            if path.is_file():
                listing.append((path.relative_to(folder).as_posix(), path.stat().st_size))
    listing.sort()
    return {
        "num_files": len(listing),
        "bytes": sum(size for _, size in listing),
        "listing_sha256": sha256_json(listing),
    }


def image_file(folder: Path, name: str) -> Path | Refusal:
    """The file in `folder` (given resolved) that a cell names, or why there is none; never a file outside."""
    if name.startswith(("http://", "https://")):
        return Refusal("read", "image is a URL", f"{name}: set image_folder to null where cells are URLs")
    if "\0" in name or Path(name).is_absolute():
        return Refusal("read", "image outside the folder", name)
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder):
            return Refusal("read", "image outside the folder", name)
        if not path.is_file():
            return Refusal("read", "image file missing", f"{name} is not in {folder.name}/")
    except OSError as error:  # a name too long, a loop of links
        return Refusal("read", "image file missing", f"{name}: {error.strerror}")
    return path
