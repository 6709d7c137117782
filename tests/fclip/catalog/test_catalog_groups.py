"""Groups and leaks, against a reference that walks from product to product."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fclip.catalog.groups import Ties, find_leaks, group_products

SPLITS = ("train", "val", "test", "hats")


@st.composite
def catalogs(draw: st.DrawFn) -> tuple[Ties, list[str]]:
    number = draw(st.integers(1, 12))
    code = st.integers(-1, 5)
    shows = draw(st.lists(st.tuples(st.integers(0, number - 1), st.integers(0, 7)), max_size=14, unique=True))
    similar = draw(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=3))
    ties = Ties(
        parent=np.array(draw(st.lists(code, min_size=number, max_size=number)), np.int64),
        text=np.array(draw(st.lists(code, min_size=number, max_size=number)), np.int64),
        product=np.array([product for product, _ in shows], np.int64),
        look=np.array([look for _, look in shows], np.int64),
        similar=np.array(similar, np.int64).reshape(-1, 2),
    )
    return ties, draw(st.lists(st.sampled_from(SPLITS), min_size=number, max_size=number))


def tied(ties: Ties, a: int, b: int) -> bool:
    looks = [
        {look for product, look in zip(ties.product, ties.look, strict=True) if product == each} for each in (a, b)
    ]
    near = {(i, j) for i, j in ties.similar.tolist()} | {(j, i) for i, j in ties.similar.tolist()}
    return bool(
        (ties.parent[a] >= 0 and ties.parent[a] == ties.parent[b])
        or (ties.text[a] >= 0 and ties.text[a] == ties.text[b])
        or looks[0] & looks[1]
        or any((i, j) in near for i in looks[0] for j in looks[1])
    )


def reach(ties: Ties, base_model: int) -> set[int]:
    """Products that a chain of ties joins with `start`; looks that no product shows are links too."""
    found, todo = {base_model}, [base_model]
    while todo:
        product = todo.pop()
        for other in range(len(ties.parent)):
            if other not in found and tied(ties, product, other):
                found.add(other)
                todo.append(other)
    return found


@given(catalogs())
def test_groups_are_what_chains_of_ties_join(catalog: tuple[Ties, list[str]]) -> None:
    ties, _ = catalog
    shown = set(ties.look.tolist())
    ties = Ties(
        ties.parent, ties.text, ties.product, ties.look, ties.similar[[set(p) <= shown for p in ties.similar.tolist()]]
    )
    group = group_products(ties)
    for product in range(len(group)):
        assert {int(each) for each in np.flatnonzero(group == group[product])} == reach(ties, product)


@given(catalogs())
def test_what_stays_is_on_one_side_and_as_much_as_can(catalog: tuple[Ties, list[str]]) -> None:
    ties, split = catalog
    group = group_products(ties)
    leaks = find_leaks(ties, group, split, SPLITS)
    gone = {leak.product for leak in leaks}
    assert len(gone) == len(leaks)
    for number in set(group.tolist()):
        members = np.flatnonzero(group == number).tolist()
        first = min((split[member] for member in members), key=SPLITS.index)
        assert {member for member in members if member not in gone} == {m for m in members if split[m] == first}
    for leak in leaks:
        assert leak.tied_to not in gone
        assert split[leak.tied_to] == leak.split
        assert group[leak.tied_to] == group[leak.product]


def test_the_nearest_tie_is_named() -> None:
    none = np.full(6, -1)
    ties = Ties(
        parent=none,
        text=np.array([-1, 7, 7, -1, -1, -1]),
        product=np.array([0, 1, 3, 4, 5, 2]),
        look=np.array([0, 1, 0, 2, 3, 4]),
        similar=np.array([[0, 1], [0, 2]]),
    )
    split = ["train", "train", "val", "val", "test", "test"]
    leaks = find_leaks(ties, group_products(ties), split, SPLITS)
    assert [(leak.product, leak.tie, leak.tied_to) for leak in leaks] == [
        (2, "same text", 1),
        (3, "same image", 0),
        (4, "near-duplicate image", 0),
    ]
