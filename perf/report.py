"""Turns samples into the table, the CSV file and the chart. `run.py` takes the samples."""

import collections
import contextlib
import csv
import dataclasses
import html
import io
import math
import statistics


@dataclasses.dataclass(frozen=True)
class Sample:
    """One proxy in one round. `cost` is CPU time in µs per request, or memory in bytes per idle connection."""

    cost: float
    requests: int
    rate: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0
    busy: float = 0.0
    disturbed: float = 0.0
    # Of caches: requests that reached the origin, the first byte of the first and the last client, memory used.
    origin_requests: int = 0
    first_us: float = 0.0
    last_us: float = 0.0
    held_mib: float = 0.0
    # How many times shorter the content came, where it is compressed.
    shorter: float = 0.0

    @property
    def hit_ratio(self):
        return 1 - self.origin_requests / self.requests

    @property
    def spread_us(self):
        return self.last_us - self.first_us


class Result:
    """All samples of one scenario."""

    def __init__(self, scenario, names, peers):
        self.scenario, self.names, self.peers = scenario, names, peers
        self.samples = collections.defaultdict(dict)  # name -> round -> Sample
        self.failures = {}  # name -> reason

    def add(self, name, number, sample):
        self.samples[name][number] = sample

    @contextlib.contextmanager
    def failures_of(self, name, kind):
        """A failure inside takes this proxy, and no other one, out of the scenario."""
        try:
            yield
        except kind as error:
            self.failures[name] = " ".join(str(error).split())
            self.samples.pop(name, None)
            print(f"{self.scenario.name} {name} FAILED: {error}", flush=True)

    def median(self, name, field="cost"):
        return statistics.median(getattr(sample, field) for sample in self.samples[name].values())

    def range(self, name):
        costs = [sample.cost for sample in self.samples[name].values()]
        return min(costs), max(costs)

    def ratio(self, name, others):
        """The cost beside the lowest one of `others` in the same round; the median of the rounds."""
        ratios = []
        for number, sample in self.samples[name].items():
            costs = [self.samples[other][number].cost for other in others if number in self.samples.get(other, {})]
            if costs and min(costs) > 0:
                ratios.append(sample.cost / min(costs))
        return statistics.median(ratios) if ratios else None

    def table(self):
        """The scenario as a Markdown table."""
        unit = "bytes/connection" if self.scenario.idle else "CPU µs/request"
        builds = [name for name in self.names if name not in self.peers]
        first_build = builds[0] if len(builds) > 1 else None
        header = ["proxy", unit, "range"]
        if self.peers:
            header.append("to best peer")
        if first_build:
            header.append(f"to {first_build}")
        columns = self.columns()
        header += columns

        rows = []
        for name in self.names:
            if name not in self.samples:
                continue
            low, high = self.range(name)
            row = [name, digits(self.median(name)), f"{digits(low)}–{digits(high)}"]
            if self.peers:
                row.append(ratio_text(self.ratio(name, self.peers)))
            if first_build:
                row.append(ratio_text(self.ratio(name, [first_build])))
            row += [text(self.median(name, field)) for field, text in columns.values()]
            rows.append(row)
        lines = [f"## {self.scenario.name}: {self.scenario.title}", ""]
        lines += padded([header, *rows]) if rows else ["No proxy was measured."]
        lines += [f"\n{name} failed: {reason}" for name, reason in self.failures.items()]
        return "\n".join(lines)


    def columns(self):
        """Titles of the columns beside the cost, with the field of a sample and how it is written."""
        if self.scenario.idle:
            return {}
        of_mix = {"hit ratio": ("hit_ratio", "{:.1%}".format), "held MiB": ("held_mib", digits)}
        of_stampede = {
            "origin requests": ("origin_requests", digits),
            "first ms": ("first_us", milliseconds),
            "last ms": ("last_us", milliseconds),
            "spread ms": ("spread_us", milliseconds),
        }
        of_cache = {"mix": of_mix, "stampede": of_stampede}.get(self.scenario.cache, {})
        is_coded = any(self.median(name, "shorter") > 1 for name in self.samples)
        of_cache |= {"times shorter": ("shorter", digits)} if is_coded else {}
        rate = {} if self.scenario.cache == "stampede" else {"requests/s": ("rate", "{:,.0f}".format)}
        latency = {"p50 ms": ("p50_us", milliseconds), "p99 ms": ("p99_us", milliseconds)}
        core = {"busy": ("busy", "{:.0%}".format), "disturbed": ("disturbed", "{:.0%}".format)}
        return {**of_cache, **rate, **latency, **core}


def markdown(results, facts, name):
    parts = [f"# Results of {name}", "\n".join(f"- {fact}: {value}" for fact, value in facts.items())]
    parts.append("![CPU time of the proxy per request](cpu.svg)")
    parts += [result.table() for result in results]
    return "\n\n".join(parts) + "\n"


def csv_text(results):
    fields = [field.name for field in dataclasses.fields(Sample)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["scenario", "unit", "round", "proxy", *fields])
    for result in results:
        unit = "bytes/connection" if result.scenario.idle else "us/request"
        rows = [
            (round_number, result.names.index(name), [result.scenario.name, unit, round_number, name])
            + (dataclasses.astuple(sample),)
            for name, samples in result.samples.items()
            for round_number, sample in samples.items()
        ]
        for _, _, key, values in sorted(rows):
            writer.writerow([*key, *(round(value, 4) for value in values)])
    return text.getvalue()


def padded(rows):
    """Rows as a Markdown table whose columns also line up as plain text: the first to the left, others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    lines = []
    for row in [rows[0], rule, *rows[1:]]:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def digits(value):
    """Three digits that matter, and no exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def milliseconds(micros):
    return f"{micros / 1e3:.2f}"


def ratio_text(ratio):
    return "" if ratio is None else f"{ratio:.2f}"


# The chart: a panel for each axis, in it a group of bars for each scenario, in it a bar for each proxy.

WIDTH_MAX, MARGIN, HEAD, PLOT, ROW = 1040, 24, 92, 220, 310
AXIS, BAR, BAR_GAP, GROUP_GAP, GROUP_MIN, PANEL_GAP = 44, 34, 4, 26, 124, 24
BUILD_COLOURS = ["#0b6e99", "#56b4e9", "#1b3a57", "#7fa8c9"]
PEER_COLOURS = {"nginx": "#8a9a5b", "haproxy": "#d98e04", "varnish": "#9b6fb0"}


def chart(results):
    """The medians as an SVG image; a thin line spans the rounds. Each panel has a scale of its own."""
    results = [result for result in results if result.samples]
    names = list(dict.fromkeys(name for result in results for name in result.names))
    builds = [name for name in names if name not in PEER_COLOURS]
    colours = {name: BUILD_COLOURS[i % len(BUILD_COLOURS)] for i, name in enumerate(builds)} | PEER_COLOURS
    colours |= {name: PEER_COLOURS["nginx"] for name in names if name.startswith("nginx-")}

    panels = collections.defaultdict(list)
    for result in results:
        panels[result.scenario.panel].append(result)
    group = max(len(names) * (BAR + BAR_GAP) - BAR_GAP + GROUP_GAP, GROUP_MIN)
    x, y, right, body = MARGIN, HEAD, 0, []
    for title, members in panels.items():
        width = AXIS + len(members) * group
        if x > MARGIN and x + width > WIDTH_MAX - MARGIN:
            x, y = MARGIN, y + ROW
        body += panel(x, y, width, title, members, names, colours)
        x += width + PANEL_GAP
        right = max(right, x)

    width, height = max(right - PANEL_GAP + MARGIN, 520), y + ROW
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="system-ui, -apple-system, Segoe UI, DejaVu Sans, sans-serif" font-size="12" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        label(MARGIN, 32, "CPU time of the proxy per request, in µs; less is better", size=17, weight=600),
    ]
    x = MARGIN
    for name in names:
        out.append(f'<rect x="{x}" y="48" width="12" height="12" rx="2" fill="{colours[name]}"/>')
        out.append(label(x + 17, 58, name))
        x += 40 + 7 * len(name)
    out.append(label(x, 58, "Medians; the thin line spans the rounds.", colour="#777"))
    return "\n".join([*out, *body, "</svg>"]) + "\n"


def panel(x, y, width, title, members, names, colours):
    top = max(result.range(name)[1] for result in members for name in result.samples) or 1
    step = nice_step(top / 4)
    ceiling = step * math.ceil(top * 1.04 / step)
    base = y + 26 + PLOT
    unit = "bytes" if members[0].scenario.idle else "µs"

    def height(value):
        return max(value, 0) / ceiling * PLOT

    out = [label(x, y + 8, f"{title} ({unit})", weight=600)]
    for tick in range(round(ceiling / step) + 1):
        line = base - height(tick * step)
        out.append(f'<path d="M{x + AXIS - 6} {line:.1f}H{x + width}" stroke="#e4e4e4"/>')
        out.append(label(x + AXIS - 10, line + 4, f"{tick * step:,g}", anchor="end", colour="#777"))
    group_width = (width - AXIS) / len(members)
    bars_width = len(names) * (BAR + BAR_GAP) - BAR_GAP
    for place, result in enumerate(members):
        centre = x + AXIS + group_width * (place + 0.5)
        for index, name in enumerate(names):
            left = centre - bars_width / 2 + index * (BAR + BAR_GAP)
            middle = left + BAR / 2
            if name not in result.samples:
                out.append(label(middle, base - 6, "–", anchor="middle", colour="#777"))
                continue
            value, (low, high) = result.median(name), result.range(name)
            out.append(
                f'<rect x="{left:.1f}" y="{base - height(value):.1f}" width="{BAR}" height="{height(value):.1f}"'
                f' rx="2" fill="{colours[name]}"/>'
            )
            out.append(f'<path d="M{middle:.1f} {base - height(low):.1f}V{base - height(high):.1f}" stroke="#222"/>')
            out.append(label(middle, base - height(high) - 5, digits(value), anchor="middle", size=11))
        for row, line in enumerate(result.scenario.title.split(", ")):
            out.append(label(centre, base + 17 + 14 * row, line, anchor="middle"))
    out.append(f'<path d="M{x + AXIS - 6} {base}H{x + width}" stroke="#999"/>')
    return out


def nice_step(rough):
    """The next of 1, 2, 2.5 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)


def label(x, y, text, anchor="start", size=12, weight=400, colour="#333"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
        f' fill="{colour}">{html.escape(text)}</text>'
    )
