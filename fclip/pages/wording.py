"""How numbers are written: the same in the terminal, on pages and in warnings."""


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


def signed(value: float) -> str:
    """`+0.012`, `−0.012`: a difference of scores."""
    return f"{value:+.3f}".replace("-", "−")
