"""CPU time of a process by part of fclip's code, measured by wrapping the public functions of its modules.

Each thread's own CPU clock is read, so waiting (for another thread, the interpreter lock, the disk) is not counted. The
time of a part excludes the calls that it makes into other parts. Sampling the threads' stacks does not work here: a
sampler sees work under the interpreter lock only where the lock is next released.
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

# Module -> part. A module that is missing here is shown under its own name.
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
    """CPU seconds by part, summed over all threads. Use one instance per process."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._threads = threading.local()

    def instrument(self, entry: ModuleType) -> None:
        """Wrap all public functions and methods of the loaded fclip modules, permanently.

        Args:
            entry: the module under test. Functions that it imported from fclip are replaced by the wrapped ones.
        """
        for owner, name, pillow_part in PILLOW:
            setattr(owner, name, self.timed(getattr(owner, name), pillow_part))
        modules = [module for name, module in sys.modules.items() if name.startswith("fclip.")]
        wrapped = {}
        for module in modules:
            for name, value in vars(module).items():
                if getattr(value, "__module__", None) != module.__name__ or name.startswith("_"):
                    continue
                part = part_of(module.__name__, name)
                if part is None:
                    continue
                if inspect.isfunction(value):
                    wrapped[value] = self.timed(value, part)
                elif inspect.isclass(value):
                    self._instrument_methods(value, part)
        for module in [*modules, entry]:  # replace every imported reference
            for name, value in list(vars(module).items()):
                if inspect.isfunction(value) and value in wrapped:
                    setattr(module, name, wrapped[value])

    def timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """Return `function`, wrapped so that its CPU time counts as `part`. For a generator, each step is timed."""
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
        """Return the seconds of all parts, largest first, then the part of `cpu_seconds` that belongs to no part."""
        parts = dict(sorted(self.seconds.items(), key=lambda item: -item[1]))
        return parts | {REST: cpu_seconds - sum(parts.values())}

    def _instrument_methods(self, kind: type, part: str) -> None:
        for name, value in list(vars(kind).items()):
            public = not name.startswith("_") or name in ("__enter__", "__exit__")
            if inspect.isfunction(value) and value.__module__ == kind.__module__ and public:
                setattr(kind, name, self.timed(value, part))
            elif isinstance(value, classmethod) and not name.startswith("_"):
                setattr(kind, name, classmethod(self.timed(value.__func__, part)))

    def _section(self, part: str) -> "_Section":
        stack = getattr(self._threads, "stack", None)
        if stack is None:
            stack = self._threads.stack = []
        return _Section(self, part, stack)

    def _charge(self, part: str, seconds: float) -> None:
        with self._lock:
            self.seconds[part] += seconds


class _Section:
    """One call into a part by one thread. The thread's stack has [part, start on the thread's CPU clock] entries."""

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
    """Return the part that a function of fclip belongs to, or None if its time counts as its caller's."""
    if module in FUNCTIONS:
        return FUNCTIONS[module].get(function)
    if module.startswith(NOT_WORK) or module.endswith(".config"):
        return None
    return next((part for name, part in MODULES.items() if f"{module}.".startswith(f"{name}.")), module)
