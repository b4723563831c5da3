"""The GraphQL over HTTP audits of the npm package graphql-http, against a running engine."""

import json
import shutil
import subprocess
from pathlib import Path

from tests.python.engine_process import EngineProcess
from tests.python.missing import skip_or_fail

NODE_FOLDER = Path(__file__).parent.parent / "node"
TIMEOUT_S = 60.0
# Every audit with its answer; what the package exports decides which there are.
SCRIPT = """
import { serverAudits } from 'graphql-http';
const results = [];
for (const audit of serverAudits({ url: process.argv[1] })) {
  const { status, reason } = await audit.fn();
  results.push({ id: audit.id, name: audit.name, status, reason });
}
console.log(JSON.stringify(results));
"""
AUDITS_AT_LEAST = 60


def test_every_audit_passes(server: EngineProcess) -> None:
    node = shutil.which("node")
    if node is None:
        skip_or_fail("Node.js is not installed")
    if not (NODE_FOLDER / "node_modules" / "graphql-http").is_dir():
        skip_or_fail("graphql-http is not installed: run `npm ci` in tests/node")
    done = subprocess.run(
        [node, "--input-type=module", "--eval", SCRIPT, f"{server.url}/graphql"],
        cwd=NODE_FOLDER,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert len(results) >= AUDITS_AT_LEAST
    assert [result for result in results if result["status"] != "ok"] == []
