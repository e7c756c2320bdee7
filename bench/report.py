"""Results as Markdown: the tables people read."""

from statistics import median

from bench.cell import Measured
from bench.doors import Answered
from bench.results import Results, by_cell, ratios
from bench.tables import Tabled
from bench.worker_cells import RAW_LOOP


def markdown(results: Results) -> str:
    """Sections without figures are left out."""
    parts = [
        _environment(results),
        _workers(results.measured),
        _doors(results.answered),
        *_tables(results.tabled),
        _left_out(results.left_out),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _environment(results: Results) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    versions = ", ".join(f"{name} {value}" for name, value in results.versions.items())
    return f"Machine: {machine}.\n\nVersions: {versions}."


def _workers(measured: list[Measured]) -> str:
    if not measured:
        return ""
    shares = ratios(measured, RAW_LOOP)
    header = [
        "cell",
        "events/s",
        "of the raw loop",
        "CPU ms per 1,000: own",
        "Kafka",
        "PostgreSQL",
        "RSS MiB",
        "rounds",
    ]
    rows = [
        [
            cell,
            f"{median(each.rate for each in plays):,.0f}",
            f"{shares[cell]:.3f}" if cell in shares else "",
            *(_cpu(plays, part) for part in ("own", "kafka", "postgres")),
            f"{max(each.rss_mib for each in plays):.0f}",
            str(len(plays)),
        ]
        for cell, plays in by_cell(measured).items()
    ]
    return "## Worker\n\n" + table(header, rows)


def _cpu(plays: list[Measured], part: str) -> str:
    used = [each.cpu[part] for each in plays if part in each.cpu]
    return f"{median(used):.1f}" if used else ""


def _doors(answered: list[Answered]) -> str:
    if not answered:
        return ""
    header = ["cell", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "errors", "rounds"]
    rows = [
        [
            cell,
            f"{median(each.rate for each in plays):,.0f}",
            *(f"{median(getattr(each, name) for each in plays):.2f}" for name in ("p50", "p99", "p999")),
            str(sum(each.errors for each in plays)),
            str(len(plays)),
        ]
        for cell, plays in by_cell(answered).items()
    ]
    return "## Ingress\n\n" + table(header, rows)


def _tables(tabled: list[Tabled]) -> list[str]:
    sections: dict[str, list[Tabled]] = {}
    for row in tabled:
        sections.setdefault(row.section, []).append(row)
    return [
        f"## {section}\n\n"
        + table(list(rows[0].values), [[str(value) for value in row.values.values()] for row in rows])
        for section, rows in sections.items()
    ]


def _left_out(reasons: dict[str, str]) -> str:
    if not reasons:
        return ""
    return "## Left out\n\n" + "\n".join(
        f"- {cell}: {reason.splitlines()[0]}" for cell, reason in reasons.items()
    )


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
