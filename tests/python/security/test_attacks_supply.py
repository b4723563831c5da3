"""Row C37: parsers of untrusted input are at least the versions that fix known vulnerabilities.

No advisory database is queried: a new advisory must not fail an unrelated build.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
# The first version that fixes the named vulnerability.
MENDED = {
    "jsonwebtoken": "10.3.0",  # GHSA-h395-gr6q-cpjc: claims of the wrong type treated as absent.
    "async-graphql": "7.0.10",  # GHSA-5gc2-7c65-8fq8: unlimited directives.
    "lapin": "4.7.1",  # Confirms lost with their channel.
    "rustls": "0.23.18",  # RUSTSEC-2024-0399: a panic while accepting.
    "sqlx": "0.8.1",  # RUSTSEC-2024-0363: lengths beyond 4 GiB.
    "tokio": "1.44.2",  # RUSTSEC-2025-0023.
    "idna": "1.0.0",  # RUSTSEC-2024-0421: names that look like others.
    "tungstenite": "0.20.1",  # RUSTSEC-2023-0065: unlimited headers.
}
NEVER = ("h2", "serde_yaml", "dotenv", "serde_cbor", "yaml-rust")
"""HTTP/2 is not supported; the others are unmaintained."""


def locked() -> dict[str, list[tuple[int, ...]]]:
    """The versions of Cargo.lock, by name."""
    text = (ROOT / "Cargo.lock").read_text()
    found: dict[str, list[tuple[int, ...]]] = {}
    for name, version in re.findall(r'name = "([^"]+)"\nversion = "(\d+\.\d+\.\d+)', text):
        found.setdefault(name, []).append(numbers(version))
    return found


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_c37_parsers_of_untrusted_input_are_recent() -> None:
    versions = locked()
    assert {"jsonwebtoken", "async-graphql", "hyper", "rustls", "sqlx"} <= set(versions)
    for name, least in MENDED.items():
        for version in versions.get(name, []):
            assert version >= numbers(least), f"{name} {version}"
    assert not set(NEVER) & set(versions)


def test_c37_there_is_one_tls_implementation() -> None:
    versions = locked()
    assert len(versions["rustls"]) == len(versions["aws-lc-rs"]) == 1
    assert "native-tls" not in versions
