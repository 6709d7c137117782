"""The configuration of audits: the section `audit` of params.yaml."""

from fclip.config import config


@config
class AuditConfig:
    """The section `audit`: what is measured of every new model beside its scores, and what the gate accepts."""

    limits: dict[str, float | None] = {}
    """The largest accepted headline of an audit by its kind, where it differs from the default; null: no limit. The gate
    applies limits once there is a champion: a challenger that exceeds one, and is worse than the champion, is not
    promoted."""
    attributes: dict[str, str | None] = {}
    """The attributes of the catalog by their meaning (category, colour, pattern, gender, brand, price, date), where they
    have other names; null: do not use one."""
    max_items: int = 1000
    """Largest number of products of a split that are audited."""
