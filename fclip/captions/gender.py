"""Gender words of English, left out or replaced by neutral ones. Other languages are left alone.

Decided word by word, from the lists below: a word is one only as a whole, so "womenfolk", "X-Men" and
"boyfriend jeans" stay; so do the listed names, and the product's own `brand`, wherever they stand.
"""

import re
from functools import lru_cache

from fclip.captions.clean import HOLE, Cleaned, close_holes

BRAND = "brand"

LEFT_OUT = (
    "men", "man", "mens", "women", "woman", "womens", "male", "males", "female", "females", "lady", "ladies", "gent",
    "gents", "gentleman", "gentlemen",
)  # fmt: skip
"""Of grown people: without them a text says the same of anyone."""

REPLACED = {
    "boy": "kid",
    "boys": "kids",
    "girl": "kid",
    "girls": "kids",
    "menswear": "clothing",
    "womenswear": "clothing",
    "ladieswear": "clothing",
    "boyswear": "kidswear",
    "girlswear": "kidswear",
}
"""What says something else too (that it is for children, that it is clothing), and a word for that alone."""

NAMES = (
    "Bad Boy", "Boy London", "Gentlemen's Club", "Iron Man", "Isle of Man", "Lady Gaga", "Man United", "Man Utd",
    "Men At Work", "Men in Black", "Mr. Men", "Mr Men", "Mr.Men", "Powerpuff Girls", "Spice Girls", "Wonder Woman",
)  # fmt: skip
"""Names with such words in them, kept as they are wherever they stand, as is the product's own attribute `brand`."""

_WORD = rf"(?:{'|'.join(sorted((*LEFT_OUT, *REPLACED), key=len, reverse=True))})(?:['\u2019]s?)?(?![\w-]|['\u2019]\w)"
_RUN = (
    rf"(?P<to>\bfor\s+(?:(?:a|the)\s+)?)?(?<![\w'\u2019-])(?P<run>{_WORD}(?:\s*(?:,|/|&|\+|\band\b|\bor\b)\s*{_WORD})*)"
)
_LAST = re.compile(r"(?P<word>\w+)(?P<possessive>['\u2019]s?)?$")


def neutral(text: str, brand: str = "") -> Cleaned:
    """`text` without gender: "Men's Running Shoes" is "Running Shoes", "boys' shirt" is "kids' shirt".

    Words joined ("men and women", "Boys/Girls") count as one, left out when any of them is of grown people; `for` goes
    with what is left out.
    """
    removed: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match["name"]:
            return match[0]
        words = [word for word in re.findall(r"\w+", match["run"].lower()) if word in LEFT_OUT or word in REPLACED]
        removed.append(match[0])
        if any(word in LEFT_OUT for word in words):
            return HOLE
        last = _LAST.search(match["run"])
        assert last is not None
        said = REPLACED[last["word"].lower()] + (last["possessive"] or "")
        return (match["to"] or "") + _in_case_of(match["run"], said)

    said = close_holes(_pattern(brand).sub(replace, text))
    return Cleaned(said, {"gender": tuple(removed)} if removed else {})


@lru_cache(maxsize=4096)
def _pattern(brand: str) -> re.Pattern[str]:
    own = (brand,) if brand and re.search(_WORD, brand, re.IGNORECASE) else ()
    names = "|".join(re.escape(name) for name in (*own, *NAMES))
    return re.compile(rf"(?<!\w)(?P<name>{names})(?!\w)|{_RUN}", re.IGNORECASE)


def _in_case_of(model: str, word: str) -> str:
    letters = re.match(r"\w+", model)
    assert letters is not None
    if len(letters[0]) > 1 and letters[0].isupper():
        return word.upper()
    return word.capitalize() if letters[0][0].isupper() else word
