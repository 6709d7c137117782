"""Digests of model folders, by which models are identified."""

from functools import lru_cache
from pathlib import Path

from fclip.files import read_json, sha256_file, sha256_json
from fclip.models.folder import WEIGHT_SUFFIXES, WEIGHTS
from fclip.models.mixtures import MIXTURE


def model_sha256(folder: Path) -> str:
    """Return the digest of a model: `fclip.files.sha256_tree` of its folder, or of the folder a mixture represents."""
    files = {path.relative_to(folder): file_sha256(path) for path in folder.rglob("*") if path.is_file()}
    if files.pop(Path(MIXTURE), None) is not None:
        files[Path(WEIGHTS)] = read_json(folder / MIXTURE)["weights_sha256"]
    return sha256_json([[path.as_posix(), files[path]] for path in sorted(files)])


def architecture_sha256(folder: Path) -> str:
    """Return the digest of the files of a model folder besides its weights: config, tokenizer, preprocessing."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MIXTURE]
    others = [path for path in files if path.suffix not in WEIGHT_SUFFIXES]
    return sha256_json([[path.relative_to(folder).as_posix(), file_sha256(path)] for path in others])


def file_sha256(path: Path) -> str:
    """Digest of a file, cached until the file changes, because digests of weights are needed repeatedly."""
    status = path.stat()
    return _cached_sha256(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def _cached_sha256(path: Path, *_: int) -> str:
    return sha256_file(path)
