"""One tool in a process of its own, which embeds what its standard input asks for and answers with seconds.

python -m benchmarks.embed.tools TOOL MODEL                        one JSON object per line on standard input
python -m benchmarks.embed.tools TOOL MODEL --first image|text FILE    embed once and end

This module imports nothing heavy, so that a tool's first embedding waits only for what the tool imports. The package
fashion-clip needs transformers 4, which fclip's own code does not.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

BATCH_SIZE = 32
WARM_UP = 20


class Tool(Protocol):
    """A tool with a loaded model. Results are embeddings or features; only the time matters here."""

    def images(self, paths: Sequence[str]) -> object:
        """Embed image files."""

    def texts(self, texts: Sequence[str]) -> object:
        """Embed texts."""


class Runtime:
    def __init__(self, model: Path) -> None:
        from fclip.runtime import load

        self.model = load(model / "runtime")

    def images(self, paths: Sequence[str]) -> object:
        return self.model.embed_images(paths, batch_size=BATCH_SIZE)

    def texts(self, texts: Sequence[str]) -> object:
        return self.model.embed_texts(texts)


class OurFashionClip:
    def __init__(self, model: Path) -> None:
        from fclip import FashionCLIP

        self.fclip = FashionCLIP(str(model / "runtime"))

    def images(self, paths: Sequence[str]) -> object:
        return self.fclip.encode_images(paths, batch_size=BATCH_SIZE)

    def texts(self, texts: Sequence[str]) -> object:
        return self.fclip.encode_text(texts, batch_size=BATCH_SIZE)


class Package:
    """The package fashion-clip. It loads only models of the hub, so it is told that the folder is one."""

    def __init__(self, model: Path) -> None:
        import fashion_clip.fashion_clip as package  # type: ignore[import-not-found]

        package._is_hugging_face_repo = lambda *_: True
        self.fclip = package.FashionCLIP(str(model / "transformers"))

    def images(self, paths: Sequence[str]) -> object:
        return self.fclip.encode_images(list(paths), batch_size=BATCH_SIZE)

    def texts(self, texts: Sequence[str]) -> object:
        return self.fclip.encode_text(list(texts), batch_size=BATCH_SIZE)


class OpenClip:
    """The usual loop: Pillow and open_clip's transform in a DataLoader with one worker per core."""

    def __init__(self, model: Path) -> None:
        import open_clip

        os.chdir(model / "open_clip")  # open_clip looks for the files of a text tower there
        self.model, self.transform = open_clip.create_model_from_pretrained("local-dir:.")
        self.model.eval()
        self.tokenizer = open_clip.get_tokenizer("local-dir:.")

    def images(self, paths: Sequence[str]) -> object:
        import torch
        from torch.utils.data import DataLoader

        if len(paths) == 1:
            with torch.inference_mode():
                return self.model.encode_image(self._pixels(paths[0])[None]).numpy()
        workers = len(os.sched_getaffinity(0))
        loader: Any = DataLoader(_Files(paths, self._pixels), batch_size=BATCH_SIZE, num_workers=workers)  # type: ignore[arg-type]
        with torch.inference_mode():
            return torch.cat([self.model.encode_image(batch) for batch in loader]).numpy()

    def texts(self, texts: Sequence[str]) -> object:
        import torch

        with torch.inference_mode():
            return self.model.encode_text(self.tokenizer(list(texts))).numpy()

    def _pixels(self, path: str) -> Any:
        from PIL import Image

        return self.transform(Image.open(path))


class _Files:
    def __init__(self, paths: Sequence[str], read: Callable[[str], Any]) -> None:
        self._paths, self._read = paths, read

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Any:
        return self._read(self._paths[index])


class Pipeline:
    """The pipeline's embedding with an empty cache: images in packs, as in the stage `embed`."""

    def __init__(self, model: Path) -> None:
        from fclip.models import store

        clip = store.load(model / "open_clip")

        class Loaded(store.ModelLoader):
            def load(self, folder: Path, *, device: Any = "cpu") -> store.Clip:
                return clip

        self.folder, self.loader = model / "open_clip", Loaded()
        self.packs: dict[Path, tuple[Any, list[str]]] = {}

    def images(self, paths: Sequence[str]) -> object:
        from fclip.features.extract import extract_features
        from fclip.files import read_json
        from fclip.images.packs import ImagePacks

        folder = Path(paths[0]).parent.parent
        if folder not in self.packs:
            self.packs[folder] = ImagePacks([folder / "packs"]), read_json(folder / "digests.json")
        packs, digests = self.packs[folder]
        with tempfile.TemporaryDirectory() as cache:
            return extract_features(
                {"model": self.folder},
                packs=packs,
                digests=digests[: len(paths)],
                texts=[],
                cache=Path(cache),
                device="cpu",
                loader=self.loader,
            )

    def texts(self, texts: Sequence[str]) -> object:
        raise NotImplementedError


class RuntimeForward(Runtime):
    """The forward pass of the runtime without reading and decoding."""

    def __init__(self, model: Path) -> None:
        super().__init__(model)
        self.pixels: dict[str, Any] = {}

    def images(self, paths: Sequence[str]) -> object:
        return [self.model.encode_pixels(batch) for batch in self.decoded(paths)]

    def decoded(self, paths: Sequence[str]) -> list[Any]:
        """Return the pixels in batches. They are decoded in the call that warms up."""
        import numpy as np

        from fclip.runtime.images import read_pixels

        for path in paths:
            if path not in self.pixels:
                self.pixels[path] = read_pixels(path, self.model.manifest.image)
        starts = range(0, len(paths), BATCH_SIZE)
        return [np.stack([self.pixels[path] for path in paths[start : start + BATCH_SIZE]]) for start in starts]


class PipelineForward(RuntimeForward):
    """The forward pass of the pipeline without reading and decoding."""

    def __init__(self, model: Path) -> None:
        from fclip.features.extract import _prepare
        from fclip.models import store

        super().__init__(model)
        self.clip = store.load(model / "open_clip")
        _prepare(self.clip)

    def images(self, paths: Sequence[str]) -> object:
        from fclip.features.encode import encode_images

        return [encode_images(self.clip, batch) for batch in self.decoded(paths)]


TOOLS: dict[str, Callable[[Path], Tool]] = {
    "pipeline": Pipeline,
    "runtime": Runtime,
    "FashionCLIP": OurFashionClip,
    "runtime, forward": RuntimeForward,
    "pipeline, forward": PipelineForward,
    "fashion-clip": Package,
    "open_clip": OpenClip,
}


def answer(tool: Tool, job: dict[str, Any]) -> list[float]:
    """Return the seconds of a job: of all inputs together, or of each one by one if it is a job of queries."""
    embed = {"images": tool.images, "texts": tool.texts}[job["kind"]]
    inputs = job["inputs"]
    parts = [[each] for each in inputs] if job["one_by_one"] else [inputs]
    for part in parts[:WARM_UP] if job["warm_up"] else ():
        embed(part)
    seconds = []
    for part in parts:
        began = time.perf_counter()
        embed(part)
        seconds.append(time.perf_counter() - began)
    return seconds


def main() -> None:
    name, model, *first = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # tools may print
    tool = TOOLS[name](Path(model))
    if first:
        kind, given = first[1:]
        embed = tool.images if kind == "image" else tool.texts
        embed([given])
        return
    for line in sys.stdin:
        print(json.dumps(answer(tool, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
