"""`order-engine adopt`: sharing the database of an older application, and going back."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from order_engine import _native
from order_engine.cli.errors import Failure
from order_engine.cli.output import json_option, print_columns
from order_engine.cli.settings import given, setting_options

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

SHOWN_OF_EACH_KIND = 20
FIGURES = ("what", "old", "not_carried", "rounding", "not_shown", "engine")
HEADING = ("", "OLD TABLES", "NOT CARRIED", "ROUNDING", "NOT SHOWN", "ENGINE", "")
EXPLAINED = {
    "change": "changes that the old tables could not take",
    "empty": "orders without items: the engine does not show them",
    "error": "rows that could not be carried over when they were written",
    "id": "orders whose number is below 1",
    "order": "orders of the engine that the old tables cannot show",
    "price": "products without a usable price",
    "prices": "prices do not explain the total",
    "product": "items whose product is not in the catalogue, or those the old tables cannot show",
    "quantity": "items of no pieces",
    "rounded": "amounts rounded to four decimals",
    "status": "orders with a status that the engine does not know",
    "time": "orders without a time",
    "total": "orders with a total that is no amount",
    "twice": "users and products with several rows",
    "user": "users that the old tables cannot show",
}
OUTCOMES = {
    "rehearsed": "This was a dry run: nothing was changed.",
    "adopted": "The old tables and the engine's are in step.",
    "undone": "The old tables stand alone again, with everything written since.",
}


@click.command()
@click.option("--dry-run", is_flag=True, help="Only look and report; change nothing.")
@click.option("--undo", is_flag=True, help="Go back: the old tables stay, the triggers go.")
@click.option(
    "--force", is_flag=True, help="With --undo: even if the old tables lack some of the engine's."
)
@click.option(
    "--announce/--no-announce",
    default=None,
    help="Whether the engine announces what the old application does, which announces it too. "
    "Default: as before, at first not.",
)
@click.option(
    "--time-zone",
    metavar="NAME",
    help="How the old application's times are meant. Default: as before, at first UTC.",
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
    as_json: bool,
    **options: str | None,
) -> None:
    """Share the database of an older application, which goes on unchanged.

    Copies its orders, users and products into the engine's tables and keeps both in step. Safe to
    interrupt and to repeat. Exits with 1 when counts or sums differ without an explanation.
    """
    if undo and (dry_run or announce is not None or time_zone):
        raise click.UsageError("--undo goes with --force only.")
    if force and not undo:
        raise click.UsageError("--force goes with --undo only.")
    flags = given(**options)
    if undo:
        report = json.loads(_native.undo_adoption(flags, force=force))
    else:
        with _Bars(hidden=as_json) as bars:
            report = json.loads(
                _native.adopt(
                    flags,
                    dry_run=dry_run,
                    announce=announce,
                    time_zone=time_zone,
                    on_progress=bars.show,
                )
            )
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        _print_for_people(report)
    # What was undone was compared before, and is left as it is where only half of it was there.
    if report["outcome"] != "undone" and not report["is_equal"]:
        raise click.exceptions.Exit(Failure.exit_code)


class _Bars(ExitStack):
    """A progress bar per stage, on standard error."""

    def __init__(self, *, hidden: bool) -> None:
        super().__init__()
        self._hidden = hidden
        self._stage: str | None = None
        self._bar: ProgressBar[int] | None = None

    def show(self, stage: str, done: int, total: int) -> None:
        """Move the bar of a stage, and make one where a stage begins."""
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


def _print_for_people(report: dict[str, Any]) -> None:
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
    for kind, count in report["found"].items():
        click.echo(f"\n{kind} ({count}): {EXPLAINED.get(kind, kind)}")
        rows = [finding for finding in report["findings"] if finding["kind"] == kind]
        print_columns(
            (
                [f"  {row['table']} {row['id']}", row["value"], row["outcome"]]
                for row in rows[:SHOWN_OF_EACH_KIND]
            ),
            heading=("  ROW", "FOUND", "DONE"),
        )
        if count > SHOWN_OF_EACH_KIND:
            click.echo(f"  and {count - SHOWN_OF_EACH_KIND} more: --json prints all")
    click.echo(f"\n{OUTCOMES[report['outcome']]}")
    if waiting := report["waiting"]:
        click.echo(
            f"{waiting['messages']} messages wait in the outbox; "
            f"{waiting['unannounced']} changes were not announced."
        )
