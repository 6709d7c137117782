"""The package fashion-clip, installed into a folder that goes before the installed packages.

It needs transformers 4. torch and the other dependencies are those of this environment.
"""

import subprocess
import sys
from pathlib import Path

from fclip.errors import UserError
from fclip.files import atomic_dir

PACKAGES = (
    *("fashion-clip==0.2.2", "transformers<5", "tokenizers>=0.22,<=0.23.0", "huggingface_hub>=0.34,<1"),
    *("datasets>=2.21,<3.1", "dill", "multiprocess", "xxhash"),  # newer ones import what torchvision no longer has
    *("appdirs", "validators", "boto3", "botocore", "jmespath", "s3transfer", "requests", "tqdm"),
)
STAND_IN = "class AnnoyIndex:\n    pass\n"
"""For annoy, which the package imports, which must be compiled, and which only an approximate search uses."""


def install_fashion_clip(folder: Path) -> Path:
    """Return `folder` with the package. It is installed the first time.

    Raises:
        UserError: the installation fails.
    """
    if not folder.is_dir():
        with atomic_dir(folder) as temporary:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(temporary)]
            done = subprocess.run([*command, *PACKAGES], capture_output=True, text=True)
            if done.returncode:
                raise UserError(f"fashion-clip cannot be installed from the package index: {done.stderr[-500:]}")
            (temporary / "annoy.py").write_text(STAND_IN)
    return folder
