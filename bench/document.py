"""Inserts a report into a document, between two comments."""

from pathlib import Path

from bench.errors import BenchError

RUN = (
    "<!-- results: written by `python -m bench --write` -->\n",
    "<!-- end of results -->\n",
)
GROWTH = (
    "<!-- growth: written by `python -m bench.growth --write` -->\n",
    "<!-- end of growth -->\n",
)
PLOTS = "performance"
"""The folder of the plots, beside the document."""


def write(path: Path, report: str, comments: tuple[str, str]) -> None:
    """Replaces the text between the two comments.

    Raises:
        BenchError: the document cannot be read, or does not contain each comment once.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}") from None
    first, last = comments
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end or first in rest or last in after:
        raise BenchError(
            f"{path} needs one line {first.strip()} and, behind it, one {last.strip()}"
        )
    path.write_text(f"{before}{first}\n{report}\n{last}{after}")


def folder_of_plots(path: Path) -> Path:
    """Returns the folder of the document's plots."""
    return path.parent / PLOTS
