"""`order-engine docs`: the documents that the package contains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from order_engine import configuration
from order_engine.cli.output import print_columns

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Path = configuration.PAGES / "documents"


@click.command()
@click.argument("name", required=False)
def docs(*, name: str | None) -> None:
    """List the documents of this version, or print the document NAME, such as CONFIG."""
    documents = {path.stem: path for path in sorted(FOLDER.rglob("*.md"))}
    if not documents:
        raise click.ClickException(
            "This package was built without the documents. Build it with `make build`."
        )
    if name is None:
        rows = [[stem, _title(path), path] for stem, path in documents.items()]
        print_columns(rows, heading=["NAME", "TITLE", "FILE"])
        return
    path = documents.get(name.removesuffix(".md").upper())
    if path is None:
        raise click.UsageError(f"There is no document {name}. There is {', '.join(documents)}.")
    click.echo(path.read_text(encoding="utf-8"), nl=False)


def _title(path: Path) -> str:
    """Return the first heading of a document."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.removeprefix("# ") for line in lines if line.startswith("# ")), "")
