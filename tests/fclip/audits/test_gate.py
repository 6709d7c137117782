"""Which audits keep a challenger from becoming the champion."""

from dataclasses import replace

import pytest

from fclip.audits.gate import audit_failures
from fclip.audits.result import AuditResult
from tests.small_audits import made_up_result


def failures(*results: AuditResult) -> tuple[str, ...]:
    return audit_failures(results, champion="champion", challenger="challenger")


@pytest.mark.parametrize(
    ("champion", "challenger", "blocks"),
    [
        (0.02, 0.3, True),
        (0.3, 0.4, True),  # the champion fails too, but less
        (0.3, 0.34, False),  # the interval contains the champion's number
        (0.3, 0.2, False),  # it fails, but is better than the champion
        (0.3, 0.3, False),
        (0.02, 0.12, False),  # the interval contains the limit
        (0.02, 0.01, False),
    ],
)
def test_a_failed_audit_blocks_if_the_champion_is_better(champion: float, challenger: float, blocks: bool) -> None:
    reasons = failures(made_up_result("champion", champion), made_up_result("challenger", challenger))
    assert bool(reasons) == blocks
    assert failures(made_up_result("challenger", challenger)) == ()


def test_reason_names_the_audit_the_numbers_and_the_limit() -> None:
    (reason,) = failures(made_up_result("champion", 0.02), made_up_result("challenger", 0.3))
    for part in ("audit spread", "studio test", "0.300", "0.250 to 0.350", "limit 0.1", "champion 0.020"):
        assert part in reason


def test_different_quantities_are_not_compared() -> None:
    champion, challenger = made_up_result("champion", 0.02), made_up_result("challenger", 0.3)
    assert champion.headline is not None
    other = replace(champion, headline=replace(champion.headline, name="other"))
    relabelled = replace(champion, headline=replace(champion.headline, label="the same in other words"))
    assert failures(other, challenger) == ()
    assert failures(relabelled, challenger)


def test_what_was_not_measured_never_blocks() -> None:
    unknown = made_up_result("champion", 0.02, headline=None)
    bad = made_up_result("challenger", 0.3)
    assert failures(unknown, bad) == ()
    assert failures(made_up_result("champion", 0.02), made_up_result("challenger", 0.3, headline=None)) == ()
    assert failures(made_up_result("champion", 0.02), made_up_result("challenger", 0.3, limit=None)) == ()
    assert failures(made_up_result("champion", 0.02, split="other"), bad) == ()
