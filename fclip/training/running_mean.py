"""Candidates as running means of the weights, which generalise better than the last ones (Polyak averaging)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch


class RunningMean:
    """An exponential moving average of tuned parameters, by name.

    The decay grows to `decay` with the number of updates, as (1 + n) / (10 + n), so that a short run's mean is not
    mostly its start.
    """

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], decay: float) -> None:
        self._parameters = dict(parameters)
        self._decay = decay
        self.means = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Take in the parameters as they are after `num_updates` updates."""
        share = 1 - min(self._decay, (1 + num_updates) / (10 + num_updates))
        torch._foreach_lerp_(list(self.means.values()), list(self._parameters.values()), share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the parameters are the means."""
        held = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self._copy(self.means)
        try:
            yield
        finally:
            self._copy(held)

    @torch.no_grad()
    def _copy(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])
