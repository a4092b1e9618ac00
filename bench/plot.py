# SPDX-License-Identifier: Apache-2.0
"""A bar chart as SVG, by hand: groups of bars over a logarithmic axis. Light and dark backgrounds both suit it."""
import math

COLORS = ['#7f8c8d', '#e69f00', '#0072b2', '#009e73', '#cc79a7', '#d55e00', '#56b4e9']
WIDTH, HEIGHT = 960, 420
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 48, 56


def text(x, y, s, anchor='middle', size=12, turn=0):
    spin = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ''
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{spin}>{s}</text>'


def bars(series, title):
    """series: name of the way -> part -> seconds."""
    parts = []
    for rows in series.values():
        parts += [p for p in rows if p not in parts]
    parts.sort(key=lambda p: (p == 'total', p != 'boot'))
    values = [v for rows in series.values() for v in rows.values() if v > 0]
    low = math.floor(math.log10(min(values, default=0.1)))
    high = max(math.ceil(math.log10(max(values, default=1))), low + 1)
    plot_h = HEIGHT - TOP - BOTTOM

    def y(v):
        return TOP + plot_h * (1 - (math.log10(max(v, 10 ** low)) - low) / (high - low))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" fill="#888">',
           text(LEFT, 20, title, 'start', 15)]
    for e in range(low, high + 1):
        for m in range(1, 10 if e < high else 2):
            at = y(m * 10 ** e)
            out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#888" '
                       f'stroke-opacity="{0.5 if m == 1 else 0.12}"/>')
        out.append(text(LEFT - 6, y(10 ** e) + 4, f'{10 ** e:g} s', 'end'))
    group = (WIDTH - LEFT - RIGHT) / max(len(parts), 1)
    bar = group * 0.8 / max(len(series), 1)
    for g, part in enumerate(parts):
        for n, (way, rows) in enumerate(series.items()):
            if part not in rows:
                continue
            x, top = LEFT + group * (g + 0.1) + bar * n, y(rows[part])
            out.append(f'<rect x="{x:.1f}" y="{top:.1f}" width="{bar * 0.92:.1f}" height="{TOP + plot_h - top:.1f}" '
                       f'fill="{COLORS[n % len(COLORS)]}"><title>{way}, {part}: {rows[part]:.3f} s</title></rect>')
        out.append(text(LEFT + group * (g + 0.5), HEIGHT - BOTTOM + 16, part, 'end', 12, -35))
    for n, way in enumerate(series):
        x = WIDTH - RIGHT - 90 * (len(series) - n)
        out.append(f'<rect x="{x}" y="10" width="12" height="12" fill="{COLORS[n % len(COLORS)]}"/>')
        out.append(text(x + 17, 20, way, 'start'))
    out.append('</svg>\n')
    return '\n'.join(out)
