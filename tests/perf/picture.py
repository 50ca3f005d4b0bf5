"""Draws ratios as horizontal bars in SVG; knows no proxy and needs no library."""

from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape

_ROW: Final = 34
_LEFT: Final = 90
_SCALE: Final = 300
_STYLE: Final = "font-family:sans-serif;font-size:14px"


def draw(ratios: Mapping[str, float], bars: Mapping[str, float]) -> str:
    """One bar per case; a line at 1.0, and a tick where the case must reach."""
    width = _LEFT + int(_SCALE * max(1.2, *ratios.values())) + 60
    height = _ROW * len(ratios) + 40
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
             f'style="{_STYLE}">']  # fmt: skip
    for row, (name, ratio) in enumerate(ratios.items()):
        y = 10 + row * _ROW
        color = "#2b8a3e" if ratio >= bars[name] else "#c92a2a"
        tick = _LEFT + _SCALE * bars[name]
        lines += [
            f'<text x="{_LEFT - 8}" y="{y + 17}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{_SCALE * ratio:.1f}" height="24" fill="{color}"/>',
            f'<text x="{_LEFT + _SCALE * ratio + 6:.1f}" y="{y + 17}">{ratio:.2f}</text>',
            f'<path d="M{tick:.1f} {y - 2}v28" stroke="#000" stroke-dasharray="3 2"/>',
        ]
    bottom = height - 26
    lines += [
        f'<path d="M{_LEFT + _SCALE} 4V{bottom}" stroke="#888"/>',
        f'<text x="{_LEFT + _SCALE}" y="{height - 8}" text-anchor="middle">Envoy = 1</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
