"""The ratio table as text, Markdown and JSON; nothing is measured here."""

from benchmarks.peers import OURS, PEERS
from benchmarks.tasks import SHARE_OF_BAR

COLUMNS = ("task", "ours", "ns/cell", "best peer", "its", "ns/cell", "ratio", "bar", "aim", "verdict", "peak memory")
CEILINGS = {"call": "seconds", "import": "seconds", "memory": "bytes"}  # kinds whose bar is a ceiling


def markdown(rows, machine):
    """Heading line and table for the README."""
    lines = [heading(machine), "", line(COLUMNS), line(["---"] * len(COLUMNS))]
    return "\n".join(lines + [line(cells(row, machine["level"])) for row in rows] + ["", *remarks(rows)])


def text(rows, machine):
    """Heading, aligned table, and every library's own figure."""
    table = [COLUMNS, *(cells(row, machine["level"]) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    aligned = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    every = [f"{row.task.name}: " + "; ".join(own_figure(row, name) for name in row.figures) for row in rows]
    return "\n".join([heading(machine), "", *aligned, "", *every, "", *remarks(rows)])


def as_json(rows, machine):
    """Plain dictionaries of everything that was measured, seconds and bytes."""
    return {"machine": machine, "rows": [json_row(row, machine["level"]) for row in rows]}


def json_row(row, level):
    figures = {name: figure._asdict() | {"ns_per_cell": figure.ns_per_cell} for name, figure in row.figures.items()}
    return {
        "task": row.task.name,
        "title": row.task.title,
        "kind": row.task.kind,
        "bar": owed(row.task, row.task.bar, level),
        "aim": owed(row.task, row.task.aim, level),
        "ratio": row.ratio,
        "figures": figures,
        "note": row.note,
        "warnings": row.warnings,
    }


def heading(machine):
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores (load average {machine['load']} at the "
        f"start), {machine['system']}, Python {machine['python']}, instruction level {machine['level']}, one thread "
        f"each, best of {machine['repeat']} or more. Versions: {versions}."
    )


def line(row):
    return "| " + " | ".join(row) + " |"


def cells(row, level):
    """Texts of one row, one a column."""
    name, peer = row.fastest_peer or ("", None)
    return (
        row.task.title,
        amount(row, row.ours),
        per_cell(row.ours),
        name,
        amount(row, peer),
        per_cell(peer),
        times(row.ratio),
        bar_text(row.task, row.task.bar, level),
        bar_text(row.task, row.task.aim, level),
        verdict(row, level),
        " / ".join(byte_text(figure.peak) for figure in (row.ours, peer) if figure and figure.peak is not None),
    )


def own_figure(row, name):
    figure = row.figures[name]
    return f"{name} {amount(row, figure)}" + (f" ({per_cell(figure)} ns/cell)" if figure.cells else "")


def owed(task, bar, level):
    """A bar at this instruction level: AVX2 owes half of the speed-ups that AVX-512 owes."""
    return None if bar is None else bar * SHARE_OF_BAR.get(level, 0.0) if task.kind == "speed" else bar


def verdict(row, level):
    """Whether the bar is met, else which part of it is reached."""
    bar = owed(row.task, row.task.bar, level)
    reached = None if row.ours is None else bar / row.ours.value if row.task.kind in CEILINGS else row.ratio
    if reached is None or not bar:
        return ""
    part = reached if row.task.kind in CEILINGS else reached / bar
    return "met" if part >= 1 else f"{part:.0%} of the bar"


def bar_text(task, bar, level):
    value = owed(task, bar, level)
    if value is None:
        return ""
    unit = CEILINGS.get(task.kind)
    return f"{value:g}x" if unit is None else byte_text(value) if unit == "bytes" else second_text(value)


def amount(row, figure):
    if figure is None:
        return ""
    return byte_text(figure.value) if CEILINGS.get(row.task.kind) == "bytes" else second_text(figure.value)


def per_cell(figure):
    return "" if figure is None or figure.cells is None else f"{figure.ns_per_cell:.3g}"


def times(ratio):
    return "" if ratio is None else f"{ratio:.3g}x"


def second_text(seconds):
    unit, name = next((u for u in ((1, "s"), (1e-3, "ms")) if seconds >= u[0]), (1e-6, "us"))
    return f"{seconds / unit:.3g} {name}"


def byte_text(count):
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def remarks(rows):
    """What a reader of the table must know: data, conventions, disagreements."""
    notes_of = {note: ", ".join(row.task.name for row in rows if row.note == note) for note in (r.note for r in rows)}
    said = [f"{names}: {note}." for note, names in notes_of.items() if note]
    warned = [f"Warning, {row.task.title}: {warning}." for row in rows for warning in row.warnings]
    used = {name for row in rows for name in row.figures}
    notes = list(dict.fromkeys(peer.note for peer in PEERS if peer.note and peer.name in used and peer is not OURS))
    general = ["Ratios compare the wall time of the same result; ns/cell counts the cells that a library computes."]
    return [*general, *said, *notes, *warned]
