"""The GraphQL over HTTP audits of the npm package graphql-http."""

import json
import subprocess

from tests.python.support.engine_process import EngineProcess
from tests.python.support.node_clients import NODE_FOLDER, find_node

TIMEOUT_S = 60.0
# Every audit of the package, with its result.
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
    done = subprocess.run(
        [
            find_node("graphql-http"),
            "--input-type=module",
            "--eval",
            SCRIPT,
            f"{server.url}/graphql",
        ],
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
