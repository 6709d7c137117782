"""Mixtures: model folders that represent the weighted average of other folders' weights.

A mixture is a folder with `mixture.json` instead of weights. The file has the relative paths of the averaged folders
and their shares. The text tower may have other shares than the image tower. A grid of interpolations therefore needs
little disk space, and each mixture is computed when it is loaded (`fclip.models.weights`). Its digest is that of the
folder that `materialise_mixture` writes.
"""

from dataclasses import dataclass
from pathlib import Path

from fclip.files import read_json

MIXTURE = "mixture.json"


@dataclass(frozen=True)
class MixturePart:
    """A model folder and its share in a mixture.

    Attributes:
        text_share: its share in the text tower, if that is another one.
    """

    folder: Path
    share: float
    text_share: float | None = None

    @property
    def share_of_texts(self) -> float:
        """Its share in the text tower and in all tensors outside the image tower."""
        return self.share if self.text_share is None else self.text_share


def mixture_parts(folder: Path) -> list[MixturePart]:
    """Return the parts of a mixture, or an empty list if the folder is not a mixture."""
    path = folder / MIXTURE
    if not path.is_file():
        return []
    return [
        MixturePart((folder / part["folder"]).resolve(), part["share"], part.get("text_share"))
        for part in read_json(path)["parts"]
    ]
