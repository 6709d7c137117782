"""The configuration of audits: the section `audit` of params.yaml."""

import math
from dataclasses import field, fields

from fclip.audits.data import Attributes
from fclip.audits.registry import Audit, audits
from fclip.config import config


@config
class AuditConfig:
    """The section `audit`: what is measured of every new model beside its scores, and what the gate accepts."""

    limits: dict[str, float | None] = field(default_factory=dict)
    """The largest accepted headline of an audit by its kind, where it differs from the default; null: no limit. The
    gate applies limits once there is a champion: a challenger that exceeds one, and is worse than the champion, is not
    promoted."""
    attributes: dict[str, str | None] = field(default_factory=dict)
    """The attributes of the catalog by their meaning (category, colour, pattern, gender, brand, price, date), where
    they have other names; null: do not use one. A dataset without such an attribute uses one with a usual name."""
    max_items: int = 1000
    """Largest number of products of a split that are audited."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.limits) - set(audits())):
            raise ValueError(f"limits: unknown audit {', '.join(unknown)}; the audits are {', '.join(audits())}")
        for kind, limit in self.limits.items():
            if limit is not None and not (math.isfinite(limit) and limit >= 0):
                raise ValueError(f"limits: {kind} must be null or a number from 0, not {limit}")
        meanings = [each.name for each in fields(Attributes)]
        if unknown := sorted(set(self.attributes) - set(meanings)):
            raise ValueError(
                f"attributes: unknown meaning {', '.join(unknown)}; the meanings are {', '.join(meanings)}"
            )
        if self.max_items < 1:
            raise ValueError(f"max_items must be at least 1, not {self.max_items}")

    def limit(self, audit: Audit) -> float | None:
        """Return the largest accepted headline of an audit; None: no limit."""
        return self.limits.get(audit.kind, audit.limit)
