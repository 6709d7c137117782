"""How numbers are said: the same in the terminal, on the page and in warnings."""

from fclip.profile.histogram import Distribution


def percent(share: float) -> str:
    """0.176 -> `17.6 %`; what is not nothing is never said to be 0 %, nor what is not all 100 %."""
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    if share < 0.0005:
        return "< 0.1 %"
    return "> 99.9 %" if share >= 0.9995 else f"{100 * share:.1f} %"


def things(num: int, thing: str) -> str:
    """`1 image`, `2,000 images`."""
    plural = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}es" if thing.endswith("s") else f"{thing}s"
    return f"{num:,} {thing if num == 1 else plural}"


def number(value: float | None) -> str:
    """Three or four digits of it; – for none."""
    if value is None:
        return "–"
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def range_said(found: Distribution) -> str:
    """`3 · 8 · 15`: least, middle, most."""
    return " · ".join(number(value) for value in (found.minimum, found.median, found.maximum))
