"""Where a process's CPU time goes, by sampling its threads; nothing in what is measured knows of it.

Every few milliseconds each thread's own CPU clock is read, and what it advanced by is put down to what the thread was
doing. Threads that wait (for each other, for the interpreter's lock, for the disk) advance nothing, so the parts add
up to the process's CPU time.
"""

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, TracebackType

INTERVAL = 0.005  # seconds
NATIVE = "native threads (Arrow, BLAS)"
SELF = "the sampling itself"
OTHER = "interpreter, thread pool"

# Parts by the module that works, Pillow's functions by what they do for it.
MODULES = {
    "fclip/catalog/sources/": "read rows",
    "fclip/catalog/images.py": "normalise (Python)",
    "fclip/catalog/fingerprints.py": "fingerprints",
    "fclip/catalog/image_facts.py": "fingerprints",
    "fclip/catalog/duplicates.py": "near-duplicates",
    "fclip/catalog/image_store.py": "image store",
    "fclip/catalog/validate.py": "validate",
    "fclip/catalog/splits.py": "splits",
    "fclip/catalog/tables.py": "tables",
    "fclip/images/packs.py": "write packs",
}
PILLOW = {"open": "open image", "load": "decode", "resize": "resize", "save": "encode"}


class Sampler:
    """Sample this process's threads while the block runs; afterwards `seconds` are CPU seconds by part.

    `main_seconds` are those of the thread that entered, which feeds all the others.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.main_seconds = 0.0
        self._done = threading.Event()
        self._main = threading.get_native_id()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Sampler":
        self._main = threading.get_native_id()
        self._clocks = _clocks()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        own = threading.get_native_id()
        while not self._done.wait(INTERVAL):
            self._sample(own)
        self._sample(own)

    def _sample(self, own: int) -> None:
        frames = sys._current_frames()
        python = {thread.native_id: thread.ident for thread in threading.enumerate()}
        now = _clocks()
        for thread, seconds in now.items():
            spent = seconds - self._clocks.get(thread, 0.0)
            if thread == self._main:
                self.main_seconds += spent
            ident = python.get(thread)
            if thread == own:
                part = SELF
            elif ident is None:
                part = NATIVE
            else:
                part = part_of(frames.get(ident))
            self.seconds[part] += spent
        self._clocks = now


def part_of(frame: FrameType | None) -> str:
    """The part that a thread with this innermost frame works on: that of the innermost module of fclip."""
    pillow = None
    while frame is not None:
        file, function = frame.f_code.co_filename, frame.f_code.co_name
        if "/PIL/" in file:
            pillow = pillow or PILLOW.get(function)
        elif "/fclip/" in file:
            module = "fclip/" + file.rpartition("/fclip/")[2]
            if module == "fclip/files.py":
                if function.startswith("sha256"):
                    return "hash"
            elif module == "fclip/catalog/images.py" and pillow is not None:
                return pillow
            elif module != "fclip/progress.py":
                return next((part for prefix, part in MODULES.items() if module.startswith(prefix)), module)
        frame = frame.f_back
    return OTHER


def _clocks() -> Mapping[int, float]:
    """CPU seconds of each thread of this process, by its native id (Linux)."""
    clocks = {}
    for entry in Path("/proc/self/task").iterdir():
        thread = int(entry.name)
        try:
            clocks[thread] = time.clock_gettime((~thread << 3) | 6)  # MAKE_THREAD_CPUCLOCK(thread, CPUCLOCK_SCHED)
        except OSError:
            continue  # it ended
    return clocks


def peak_memory() -> int:
    """The most bytes that this process had resident.

    Not getrusage's: that counts, for a process just started, what its parent had.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")
