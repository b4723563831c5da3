"""`order-engine adopt`: share the database of an existing application, or undo that."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from order_engine import _native
from order_engine.cli.errors import Failure
from order_engine.cli.output import json_option, print_columns
from order_engine.cli.settings import merge_options, setting_options

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

ROWS_PER_KIND_MAX = 20
FIGURES = ("what", "old", "not_imported", "rounding", "engine_only", "engine")
HEADING = ("", "OLD TABLES", "NOT COPIED", "ROUNDING", "NOT IN OLD", "ENGINE", "")
KIND_DESCRIPTIONS = {
    "change": "changes that could not be written to the old tables",
    "empty": "orders without lines, which the engine does not show",
    "error": "rows that could not be copied when they were written",
    "id": "orders with an id below 1",
    "order": "engine orders that the old tables cannot represent",
    "price": "products without a usable price",
    "prices": "orders whose total differs from the sum of their prices",
    "product": "lines with an unknown product, or one that the old tables cannot represent",
    "quantity": "lines with a quantity of zero",
    "rounded": "amounts rounded to four decimals",
    "status": "orders with an unknown status; --map-status says what it means",
    "time": "orders without a creation time",
    "total": "orders with an invalid total",
    "twice": "users and products with several rows",
    "user": "users that the old tables cannot represent",
}
OUTCOMES = {
    "dry_run": "This was a dry run: nothing was changed.",
    "adopted": "The old tables and the engine's tables are synchronised.",
    "undone": "The adoption is undone. The old tables contain everything written since.",
}


@click.command()
@click.option("--dry-run", is_flag=True, help="Report what would be done; change nothing.")
@click.option(
    "--undo", is_flag=True, help="Undo the adoption: keep the old tables, remove the triggers."
)
@click.option(
    "--force",
    is_flag=True,
    help="With --undo: undo even if data of the engine is missing in the old tables.",
)
@click.option(
    "--announce/--no-announce",
    default=None,
    help="Publish events for changes made by the old application. Do not use it if the old "
    "application publishes these events itself. Default: as in the last run; off in the first run.",
)
@click.option(
    "--time-zone",
    metavar="NAME",
    help="Time zone of the old application's timestamps. Default: as in the last run; UTC in "
    "the first run.",
)
@click.option(
    "--map-status",
    metavar="OLD=STATUS",
    multiple=True,
    help="The engine's status for a status of the old application: Paid=confirmed. NULL=pending is "
    "for orders without a status. May be repeated; the values of earlier runs remain.",
)
@setting_options("database_url")
@json_option
def adopt(  # noqa: PLR0913 - one parameter per option.
    *,
    dry_run: bool,
    undo: bool,
    force: bool,
    announce: bool | None,
    time_zone: str | None,
    map_status: tuple[str, ...],
    as_json: bool,
    **options: str | None,
) -> None:
    """Share the database of an existing application, which keeps running unchanged.

    Copies its orders, users and products into the engine's tables. From then on triggers copy
    changes in both directions. Safe to interrupt and to repeat. Exits with status 1 if counts or
    sums differ and no reported row explains the difference.
    """
    if undo and (dry_run or announce is not None or time_zone or map_status):
        raise click.UsageError("--undo can be combined with --force only.")
    if force and not undo:
        raise click.UsageError("--force requires --undo.")
    flags = merge_options(**options)
    if undo:
        report = json.loads(_native.undo_adoption(flags, force=force))
    else:
        with _ProgressBars(hidden=as_json) as bars:
            report = json.loads(
                _native.adopt(
                    flags,
                    dry_run=dry_run,
                    announce=announce,
                    time_zone=time_zone,
                    map_status=list(map_status),
                    on_progress=bars.show,
                )
            )
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        _print_table(report)
    # Undoing compares first and fails by itself; an incomplete adoption is undone as it is.
    if report["outcome"] != "undone" and not report["is_equal"]:
        raise click.exceptions.Exit(Failure.exit_code)


class _ProgressBars(ExitStack):
    """One progress bar per stage, on standard error."""

    def __init__(self, *, hidden: bool) -> None:
        super().__init__()
        self._hidden = hidden
        self._stage: str | None = None
        self._bar: ProgressBar[int] | None = None

    def show(self, stage: str, done: int, total: int) -> None:
        """Update the bar of the stage; create it when the stage begins."""
        if self._hidden:
            return
        if self._bar is None or stage != self._stage:
            self.close()
            self._stage = stage
            bar: ProgressBar[int] = click.progressbar(
                length=total,
                label=stage.ljust(9),
                show_pos=True,
                file=sys.stderr,
            )
            self._bar = self.enter_context(bar)
        self._bar.length = total
        self._bar.update(done - self._bar.pos)


def _print_table(report: dict[str, Any]) -> None:
    print_columns(
        (
            [
                *(figure[field] for field in FIGURES),
                "equal" if figure["is_equal"] else "NOT EQUAL",
            ]
            for figure in report["figures"]
        ),
        heading=HEADING,
    )
    for kind, count in report["findings_by_kind"].items():
        click.echo(f"\n{kind} ({count}): {KIND_DESCRIPTIONS.get(kind, kind)}")
        rows = [finding for finding in report["findings"] if finding["kind"] == kind]
        print_columns(
            (
                [f"  {row['table']} {row['id']}", row["value"], row["outcome"]]
                for row in rows[:ROWS_PER_KIND_MAX]
            ),
            heading=("  ROW", "FOUND", "DONE"),
        )
        if count > ROWS_PER_KIND_MAX:
            click.echo(f"  and {count - ROWS_PER_KIND_MAX} more: --json prints all")
    click.echo(f"\n{OUTCOMES[report['outcome']]}")
    if waiting := report["waiting"]:
        click.echo(
            f"{waiting['messages']} messages are queued in the outbox; "
            f"{waiting['unpublished_changes']} changes were not published."
        )
