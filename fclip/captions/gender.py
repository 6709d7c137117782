"""Remove English gender words from texts, or replace them by neutral words. Other languages are not changed.

Only whole words of the lists below are changed: "womenfolk", "X-Men" and "boyfriend jeans" stay. The listed names and
the product's `brand` also stay.
"""

import re
from functools import lru_cache

from fclip.captions.clean import REMOVED, CleanedText, close_gaps

BRAND = "brand"

LEFT_OUT = (
    "men", "man", "mens", "women", "woman", "womens", "male", "males", "female", "females", "lady", "ladies", "gent",
    "gents", "gentleman", "gentlemen",
)  # fmt: skip
"""Words for adults. They are removed."""

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
"""Words with a second meaning (for children, clothing), and the word for that meaning alone."""

NAMES = (
    "Bad Boy", "Boy London", "Gentlemen's Club", "Iron Man", "Isle of Man", "Lady Gaga", "Man United", "Man Utd",
    "Men At Work", "Men in Black", "Mr. Men", "Mr Men", "Mr.Men", "Powerpuff Girls", "Spice Girls", "Wonder Woman",
)  # fmt: skip
"""Names that contain gender words. They are kept, as is the product's attribute `brand`."""

_WORD = rf"(?:{'|'.join(sorted((*LEFT_OUT, *REPLACED), key=len, reverse=True))})(?:['\u2019]s?)?(?![\w-]|['\u2019]\w)"
_RUN = (
    rf"(?P<to>\bfor\s+(?:(?:a|the)\s+)?)?(?<![\w'\u2019-])(?P<run>{_WORD}(?:\s*(?:,|/|&|\+|\band\b|\bor\b)\s*{_WORD})*)"
)
_LAST = re.compile(r"(?P<word>\w+)(?P<possessive>['\u2019]s?)?$")


def gender_neutral(text: str, brand: str = "") -> CleanedText:
    """Make a text gender-neutral: "Men's Running Shoes" becomes "Running Shoes", "boys' shirt" becomes "kids' shirt".

    Joined words ("men and women", "Boys/Girls") count as one expression. It is removed, with a `for` before it, if it
    has a word for adults.
    """
    removed: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match["name"]:
            return match[0]
        words = [word for word in re.findall(r"\w+", match["run"].lower()) if word in LEFT_OUT or word in REPLACED]
        removed.append(match[0])
        if any(word in LEFT_OUT for word in words):
            return REMOVED
        last = _LAST.search(match["run"])
        assert last is not None
        replacement = REPLACED[last["word"].lower()] + (last["possessive"] or "")
        return (match["to"] or "") + _in_case_of(match["run"], replacement)

    neutral_text = close_gaps(_pattern(brand).sub(replace, text))
    return CleanedText(neutral_text, {"gender": tuple(removed)} if removed else {})


@lru_cache(maxsize=4096)
def _pattern(brand: str) -> re.Pattern[str]:
    brand_names = (brand,) if brand and re.search(_WORD, brand, re.IGNORECASE) else ()
    names = "|".join(re.escape(name) for name in (*brand_names, *NAMES))
    return re.compile(rf"(?<!\w)(?P<name>{names})(?!\w)|{_RUN}", re.IGNORECASE)


def _in_case_of(model: str, word: str) -> str:
    letters = re.match(r"\w+", model)
    assert letters is not None
    if len(letters[0]) > 1 and letters[0].isupper():
        return word.upper()
    return word.capitalize() if letters[0][0].isupper() else word
