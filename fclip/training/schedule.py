"""When what happens: the learning rate of a step, and the steps that leave a candidate."""

import math


def learning_rate(step: int, *, num_steps: int, peak: float, warmup_fraction: float) -> float:
    """The rate of update `step` (from 0): up to `peak` linearly, then down to 0 along half a cosine."""
    warmup = round(warmup_fraction * num_steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


def candidate_steps(num_steps: int, num_candidates: int) -> tuple[int, ...]:
    """Numbers of updates done after which a candidate is kept, the last one always among them.

    Dense early, as squares: what generalises best is often a model that has hardly left its start.
    """
    return tuple(sorted({-(-num_steps * k**2 // num_candidates**2) for k in range(1, num_candidates + 1)}))
