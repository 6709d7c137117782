"""Where a process's CPU time goes: clocks around the public functions of fclip's modules, put there from outside.

Each thread has a CPU clock of its own, so that waiting (for another thread, the interpreter's lock, the disk) counts
for nothing, and a part's time is its own: what it calls in another part counts there. (Sampling the threads' stacks
does not do: work under the interpreter's lock is seen only where the lock is next given up.)
"""

import functools
import inspect
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from PIL import Image, ImageFile

REST = "thread pool, progress, native threads"

# CpuProfile by module; one that is not named here is shown by its own name.
MODULES = {
    "fclip.catalog.reading": "read rows",
    "fclip.catalog.sources": "read rows",
    "fclip.mirror": "read rows",
    "fclip.catalog.pin": "verify the pin",
    "fclip.catalog.validate": "validate, repair",
    "fclip.catalog.repair": "validate, repair",
    "fclip.catalog.rows": "validate, repair",
    "fclip.catalog.image_importer": "hand out images",
    "fclip.mirror.file_digests": "hand out images",
    "fclip.catalog.images": "normalise (Python)",
    "fclip.catalog.fingerprints": "fingerprints",
    "fclip.catalog.image_facts": "fingerprints",
    "fclip.catalog.image_store": "image store",
    "fclip.catalog.duplicates": "near-duplicates",
    "fclip.catalog.groups": "groups, splits",
    "fclip.catalog.split_assignment": "groups, splits",
    "fclip.catalog.splits": "groups, splits",
    "fclip.catalog.hold_outs": "groups, splits",
    "fclip.catalog.products": "tables",
    "fclip.catalog.summary": "tables",
    "fclip.catalog.tables": "tables",
    "fclip.catalog.write": "tables",
    "fclip.images.packs": "write packs",
}
DIGESTS = ("digest_bytes", "digest_file", "sha256_bytes", "sha256_file", "sha256_json", "sha256_tree")
JPEGS = {"read_header": "decode", "Jpeg": "decode", "shrink": "resize", "encode": "encode"}
FUNCTIONS = {
    "fclip.files": {**dict.fromkeys(DIGESTS, "hash"), "read_regular": "read files"},
    "fclip.catalog.jpegs": JPEGS,
}
PILLOW: tuple[tuple[Any, str, str], ...] = (
    (Image, "open", "open image"),
    (ImageFile.ImageFile, "load", "decode"),
    (Image.Image, "resize", "resize"),
    (Image.Image, "save", "encode"),
)
NOT_WORK = ("fclip.progress", "fclip.config", "fclip.errors")


class CpuProfile:
    """CPU seconds by part, of all threads together; for one measurement in a process of its own."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._threads = threading.local()

    def watch(self, entry: ModuleType) -> None:
        """Put clocks around everything that is loaded, for good; `entry` is a part of its own."""
        for owner, name, pillow_part in PILLOW:
            setattr(owner, name, self.clocked(getattr(owner, name), pillow_part))
        modules = [module for name, module in sys.modules.items() if name.startswith("fclip.")]
        clocked = {}
        for module in modules:
            for name, value in vars(module).items():
                if getattr(value, "__module__", None) != module.__name__ or name.startswith("_"):
                    continue
                part = part_of(module.__name__, name)
                if part is None:
                    continue
                if inspect.isfunction(value):
                    clocked[value] = self.clocked(value, part)
                elif inspect.isclass(value):
                    self._watch_methods(value, part)
        for module in [*modules, entry]:  # under every name that an import gave it
            for name, value in list(vars(module).items()):
                if inspect.isfunction(value) and value in clocked:
                    setattr(module, name, clocked[value])

    def clocked(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """`function`, its CPU time counted as `part`; of a generator, that of each step."""
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def steps(*args: Any, **kwargs: Any) -> Iterator[Any]:
                items = function(*args, **kwargs)
                while True:
                    with self._section(part):
                        try:
                            item = next(items)
                        except StopIteration:
                            return
                    yield item

            return steps

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._section(part):
                return function(*args, **kwargs)

        return call

    def with_remainder(self, cpu_seconds: float) -> dict[str, float]:
        """All parts, the largest first, and last what of `cpu_seconds` is in none."""
        parts = dict(sorted(self.seconds.items(), key=lambda item: -item[1]))
        return parts | {REST: cpu_seconds - sum(parts.values())}

    def _watch_methods(self, kind: type, part: str) -> None:
        for name, value in list(vars(kind).items()):
            public = not name.startswith("_") or name in ("__enter__", "__exit__")
            if inspect.isfunction(value) and value.__module__ == kind.__module__ and public:
                setattr(kind, name, self.clocked(value, part))
            elif isinstance(value, classmethod) and not name.startswith("_"):
                setattr(kind, name, classmethod(self.clocked(value.__func__, part)))

    def _section(self, part: str) -> "_Section":
        stack = getattr(self._threads, "stack", None)
        if stack is None:
            stack = self._threads.stack = []
        return _Section(self, part, stack)

    def _charge(self, part: str, seconds: float) -> None:
        with self._lock:
            self.seconds[part] += seconds


class _Section:
    """One stay of a thread in a part. The stack holds [part, since when on the thread's clock]."""

    __slots__ = ("_part", "_parts", "_stack")

    def __init__(self, parts: CpuProfile, part: str, stack: list[list[Any]]) -> None:
        self._parts, self._part, self._stack = parts, part, stack

    def __enter__(self) -> None:
        now = time.thread_time()
        if self._stack:
            part, since = self._stack[-1]
            self._parts._charge(part, now - since)
        self._stack.append([self._part, now])

    def __exit__(self, *error: object) -> None:
        now = time.thread_time()
        part, since = self._stack.pop()
        self._parts._charge(part, now - since)
        if self._stack:
            self._stack[-1][1] = now


def part_of(module: str, function: str) -> str | None:
    """The part that a function of fclip belongs to; None for what counts as its caller's."""
    if module in FUNCTIONS:
        return FUNCTIONS[module].get(function)
    if module.startswith(NOT_WORK) or module.endswith(".config"):
        return None
    return next((part for name, part in MODULES.items() if f"{module}.".startswith(f"{name}.")), module)
