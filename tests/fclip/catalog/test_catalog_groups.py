"""Groups and leaks, compared with a reference that walks from product to product."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fclip.catalog.groups import ProductLinks, find_leaks, group_products

SPLITS = ("train", "val", "test", "hats")


@st.composite
def catalogs(draw: st.DrawFn) -> tuple[ProductLinks, list[str]]:
    number = draw(st.integers(1, 12))
    code = st.integers(-1, 5)
    shows = draw(st.lists(st.tuples(st.integers(0, number - 1), st.integers(0, 7)), max_size=14, unique=True))
    similar = draw(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=3))
    links = ProductLinks(
        parent=np.array(draw(st.lists(code, min_size=number, max_size=number)), np.int64),
        text=np.array(draw(st.lists(code, min_size=number, max_size=number)), np.int64),
        product=np.array([product for product, _ in shows], np.int64),
        appearance=np.array([appearance for _, appearance in shows], np.int64),
        similar=np.array(similar, np.int64).reshape(-1, 2),
    )
    return links, draw(st.lists(st.sampled_from(SPLITS), min_size=number, max_size=number))


def linked(links: ProductLinks, a: int, b: int) -> bool:
    appearances = [
        {appearance for product, appearance in zip(links.product, links.appearance, strict=True) if product == each}
        for each in (a, b)
    ]
    near = {(i, j) for i, j in links.similar.tolist()} | {(j, i) for i, j in links.similar.tolist()}
    return bool(
        (links.parent[a] >= 0 and links.parent[a] == links.parent[b])
        or (links.text[a] >= 0 and links.text[a] == links.text[b])
        or appearances[0] & appearances[1]
        or any((i, j) in near for i in appearances[0] for j in appearances[1])
    )


def reach(links: ProductLinks, first: int) -> set[int]:
    """Return the products that a chain of links joins with `first`."""
    found, todo = {first}, [first]
    while todo:
        product = todo.pop()
        for other in range(len(links.parent)):
            if other not in found and linked(links, product, other):
                found.add(other)
                todo.append(other)
    return found


@given(catalogs())
def test_groups_are_the_products_that_chains_of_links_join(catalog: tuple[ProductLinks, list[str]]) -> None:
    links, _ = catalog
    shown = set(links.appearance.tolist())
    links = ProductLinks(
        links.parent,
        links.text,
        links.product,
        links.appearance,
        links.similar[[set(p) <= shown for p in links.similar.tolist()]],
    )
    group = group_products(links)
    for product in range(len(group)):
        assert {int(each) for each in np.flatnonzero(group == group[product])} == reach(links, product)


@given(catalogs())
def test_each_group_keeps_the_products_of_its_first_split(catalog: tuple[ProductLinks, list[str]]) -> None:
    links, split = catalog
    group = group_products(links)
    leaks = find_leaks(links, group, split, SPLITS)
    gone = {leak.product for leak in leaks}
    assert len(gone) == len(leaks)
    for number in set(group.tolist()):
        members = np.flatnonzero(group == number).tolist()
        first = min((split[member] for member in members), key=SPLITS.index)
        assert {member for member in members if member not in gone} == {m for m in members if split[m] == first}
    for leak in leaks:
        assert leak.linked_to not in gone
        assert split[leak.linked_to] == leak.split
        assert group[leak.linked_to] == group[leak.product]


def test_leak_names_the_closest_link() -> None:
    none = np.full(6, -1)
    links = ProductLinks(
        parent=none,
        text=np.array([-1, 7, 7, -1, -1, -1]),
        product=np.array([0, 1, 3, 4, 5, 2]),
        appearance=np.array([0, 1, 0, 2, 3, 4]),
        similar=np.array([[0, 1], [0, 2]]),
    )
    split = ["train", "train", "val", "val", "test", "test"]
    leaks = find_leaks(links, group_products(links), split, SPLITS)
    assert [(leak.product, leak.link, leak.linked_to) for leak in leaks] == [
        (2, "same text", 1),
        (3, "same image", 0),
        (4, "near-duplicate image", 0),
    ]
