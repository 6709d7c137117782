import pytest

from fclip.selection.gate import GateComparison, decide


def comparison(dataset: str, low: float, high: float, *, in_domain: bool = False) -> GateComparison:
    middle = (low + high) / 2
    return GateComparison(
        dataset=dataset, split="val", metric="classification.acc1", in_domain=in_domain, champion=0.5,
        challenger=0.5 + middle, difference=middle, low=low, high=high, num_items=100,
    )  # fmt: skip


BETTER, WORSE, SAME = (0.01, 0.05), (-0.05, -0.01), (-0.02, 0.03)


@pytest.mark.parametrize(
    ("intervals", "promote"),
    [
        ([BETTER], True),
        ([BETTER, SAME, SAME], True),
        ([SAME, SAME], False),
        ([WORSE, SAME], False),
        ([BETTER, BETTER, WORSE], False),
        ([(0.0, 0.05)], False),  # an interval that touches 0 is not better ...
        ([(-0.05, 0.0), BETTER], True),  # ... nor worse
    ],
)
def test_gate_promotes_if_no_dataset_is_worse_and_one_is_better(intervals, promote) -> None:
    assert decide([comparison(f"d{i}", *interval) for i, interval in enumerate(intervals)]).promote is promote


@pytest.mark.parametrize("in_domain_is_worse", [True, False])
def test_in_domain_and_out_of_domain_datasets_count_equally(in_domain_is_worse: bool) -> None:
    in_domain, out_of_domain = (WORSE, BETTER) if in_domain_is_worse else (BETTER, WORSE)
    assert not decide([comparison("in", *in_domain, in_domain=True), comparison("out", *out_of_domain)]).promote


def test_reason_names_the_deciding_datasets() -> None:
    refused = decide([comparison("studio", *WORSE, in_domain=True), comparison("street", *BETTER)])
    assert "studio" in refused.reason
    assert "street" not in refused.reason
    assert "street" in decide([comparison("studio", *SAME), comparison("street", *BETTER)]).reason


def test_gate_without_comparisons_is_an_error() -> None:
    with pytest.raises(ValueError, match="role select"):
        decide([])
