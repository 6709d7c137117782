"""Number formats for the terminal, the pages and warnings."""


def percent(share: float) -> str:
    """Format a share: 0.176 -> `17.6 %`. Only 0 gives `0 %`, and only 1 gives `100 %`."""
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    if share < 0.0005:
        return "< 0.1 %"
    return "> 99.9 %" if share >= 0.9995 else f"{100 * share:.1f} %"


def counted(num: int, noun: str) -> str:
    """Format a number with its noun: `1 image`, `2,000 images`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{num:,} {noun if num == 1 else plural}"


def number(value: float | None) -> str:
    """Format a number with three or four digits; None gives `–`."""
    if value is None:
        return "–"
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def signed(value: float) -> str:
    """Format a difference of scores: `+0.012`, `−0.012`."""
    return f"{value:+.3f}".replace("-", "−")
