"""The command `python -m bench`: measures, prints the tables, and stores the raw numbers."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from tests.services import ServiceError

from bench import document, report, results, run
from bench.errors import BenchError
from bench.plan import PARTS, Plan


def main() -> int:
    """Parses the command line and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--rounds", type=_positive, default=Plan.rounds, help="how often (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=_positive,
        default=Plan.seconds,
        help="of each measurement under load (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        choices=PARTS,
        nargs="+",
        default=PARTS,
        metavar="PART",
        help=f"measure only these of {', '.join(PARTS)}",
    )
    parser.add_argument(
        "--peers",
        choices=Plan.peers,
        nargs="*",
        default=Plan.peers,
        metavar="PEER",
        help=f"compare only with these of {', '.join(Plan.peers)}; with none after --peers alone",
    )
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="put the tables into this document, and draw plots beside it",
    )
    parser.add_argument(
        "--again", action="store_true", help="take the numbers of the last run, measure nothing"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    try:
        if arguments.again:
            found = results.load()
        else:
            found = run.measure(
                Plan(
                    rounds=arguments.rounds,
                    seconds=arguments.seconds,
                    parts=tuple(arguments.only),
                    peers=tuple(arguments.peers),
                )
            )
            found.save()
        text = report.render(found)
        sys.stdout.write(text)
        if arguments.write:
            # Only plotting needs matplotlib.
            from bench import plots  # noqa: PLC0415

            drawn = plots.draw_run(found, document.folder_of_plots(arguments.write))
            document.write(arguments.write, text + plots.links(drawn), document.RUN)
    except (BenchError, ServiceError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
