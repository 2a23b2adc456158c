"""`arcus coverage`: what was inspected, and what was not."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.database import audit_store
from appliance.cli.output import (
    CliError,
    ConfigOption,
    JsonOption,
    examples,
    known_tenant,
    load_config,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from appliance.domain.coverage_report import Line, Part, Report

HEADINGS = {
    "bucket": ("DIRECTION", "BUCKET", "WHY", "BYTES", "TASKS"),
    "": ("BYTES", "SCANNED", "NOT INSPECTED", "OTHER", "SHARE", "WHY NOT, MOSTLY"),
}

Tenant = Annotated[str, typer.Option("--tenant", metavar="ID", help="Only this tenant's.")]
Since = Annotated[str, typer.Option("--since", metavar="TIME", help="now-24h, 2026-01-31, or seconds since the epoch.")]
By = Annotated[str, typer.Option("--by", metavar="WHAT", help="host, user, tenant or bucket.")]
Sort = Annotated[str, typer.Option("--sort", metavar="WHAT", help="not_inspected, bytes or share: what comes first.")]
Limit = Annotated[int, typer.Option("-n", "--limit", metavar="N", min=1, max=1000, help="How many lines at most.")]


def register(app: typer.Typer) -> None:
    lines = (
        "arcus coverage -c arcus.yaml",
        "arcus coverage --tenant acme --since now-7d --by user --sort share -c arcus.yaml",
        "arcus coverage --by bucket -c arcus.yaml --json",
    )
    app.command(epilog=examples(*lines))(coverage)


def coverage(
    config: ConfigOption,
    tenant: Tenant = "",
    since: Since = "now-24h",
    by: By = "host",
    sort: Sort = "not_inspected",
    limit: Limit = 50,
    as_json: JsonOption = False,
) -> None:
    """Say how many bytes were inspected, and which were not: by host, user, tenant, or bucket. Hours are counted whole.

    docs/coverage.md says what is counted, and what the buckets mean.
    """
    from appliance.audit.errors import QueryError
    from appliance.audit.query.coverage import Question
    from appliance.storage.coverage import CoverageLedger

    now = time.time()
    try:
        asked = Question.read({"tenant": tenant, "since": since, "by": by, "sort": sort, "limit": str(limit)}, now)
    except QueryError as error:
        raise CliError(str(error), "`arcus coverage --help` has examples") from error
    loaded = load_config(config).config
    with audit_store(loaded) as store:
        report = asked.answer(CoverageLedger(store).report)
    if not report.whole.parts:
        known_tenant(loaded, tenant)
    if as_json:
        print_json(report.as_dict())
    else:
        _print(report, by)


def _print(report: "Report", by: str) -> None:
    whole = report.whole
    hours = f"{_hour(report.since)} to {_hour(report.until)} UTC"
    print(f"{hours}: {whole.bytes} bytes, {_share(whole)} of what could be inspected was; {whole.not_inspected} bytes were not")
    if by == "bucket":
        rows: list[tuple[object, ...]] = [(p.direction, p.bucket, p.why or "-", p.bytes, p.tasks) for p in whole.parts]
        print_table(HEADINGS["bucket"], rows, "nothing was counted")
        return
    rows = [
        (line.name or "-", line.bytes, line.scanned, line.not_inspected, line.other, _share(line), _why(line.missed))
        for line in report.lines
    ]
    print_table((by.upper(), *HEADINGS[""]), rows, "nothing was counted")


def _why(missed: "tuple[Part, ...]") -> str:
    return f"{missed[0].direction}: {missed[0].bucket} {missed[0].why}" if missed else "-"


def _share(line: "Line") -> str:
    return "-" if line.share is None else f"{line.share:.1%}"


def _hour(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M}"
