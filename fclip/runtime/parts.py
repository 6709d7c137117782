"""What a model of the runtime is loaded from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fclip.runtime.manifest import Manifest


@dataclass(frozen=True)
class Parts:
    """What a model is loaded from; each part is read when it is first needed.

    Attributes:
        graph: name -> the content of an ONNX file, or its path.
        weights: name of a graph -> its tensors by name; None if the graph finds them itself.
        tokenizer: -> the content of tokenizer.json.
    """

    manifest: Manifest
    graph: Callable[[str], bytes | Path]
    weights: Callable[[str], Mapping[str, NDArray[Any]] | None]
    tokenizer: Callable[[], bytes]
