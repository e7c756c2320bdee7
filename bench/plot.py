"""The worker's figures as one picture: a bar for each cell, as a share of the raw loop."""

from html import escape

from bench.cell import Measured
from bench.results import ratios
from bench.worker_cells import RAW_LOOP

LABELS, BARS, LINE = 330, 420, 22
OURS, THEIRS, YARDSTICK = "#1f6f8b", "#b8b8b8", "#333333"


def svg(measured: list[Measured]) -> str:
    """Raises ValueError without a raw loop to compare with."""
    shares = ratios(measured, RAW_LOOP)
    if not shares:
        raise ValueError("no raw loop in these results")
    ordered = sorted(shares.items(), key=lambda pair: -pair[1])
    longest = ordered[0][1]
    height = LINE * len(ordered) + 50
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABELS + BARS + 70}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="{height}" fill="white"/>',
        '<text x="10" y="20" font-size="14">Events a second, as a share of the raw loop</text>',
    ]
    for place, (cell, share) in enumerate(ordered):
        lines += _bar(cell, share, share / longest * BARS, 36 + place * LINE)
    return "\n".join([*lines, "</svg>\n"])


def _bar(cell: str, share: float, width: float, top: int) -> list[str]:
    colour = YARDSTICK if cell == RAW_LOOP else OURS if cell.startswith("ours") else THEIRS
    return [
        f'<text x="{LABELS - 8}" y="{top + 13}" text-anchor="end">{escape(cell)}</text>',
        f'<rect x="{LABELS}" y="{top}" width="{width:.1f}" height="{LINE - 6}" fill="{colour}"/>',
        f'<text x="{LABELS + width + 5:.1f}" y="{top + 13}">{share:.2f}</text>',
    ]
