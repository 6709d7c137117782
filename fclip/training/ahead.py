"""Batches made on a GPU while it trains on the one before."""

from collections.abc import Iterator

import torch

Batch = tuple[torch.Tensor, float]  # images, and the seconds waited for them


def ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches; on a GPU, each is copied and varied one step early, on a stream of its own.

    So the copy and the variation run beside the step before, which leaves memory bandwidth and copy engines idle.
    On a CPU they come as they are.
    """
    if device.type != "cuda":
        yield from batches
        return
    beside = torch.cuda.Stream(device)

    def made() -> Batch | None:
        with torch.cuda.stream(beside):
            return next(batches, None)

    ready = made()
    while ready is not None:
        images, waited = ready
        training = torch.cuda.current_stream(device)
        training.wait_stream(beside)
        images.record_stream(training)  # or the next batch could be written over it while it is trained on
        ready = made()
        yield images, waited
