"""Puts a report into a document, between two comments that stay."""

from pathlib import Path

from bench.errors import BenchError

BEGIN = "<!-- results: written by `python -m bench --write` -->\n"
END = "<!-- end of results -->\n"


def write(path: Path, report: str) -> None:
    """Replaces what stands between the comments.

    Raises:
        BenchError: the document cannot be read, or does not have each comment once.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}") from None
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise BenchError(f"{path} needs one line {BEGIN.strip()} and, behind it, one {END.strip()}")
    path.write_text(f"{before}{BEGIN}\n{report}\n{END}{after}")
