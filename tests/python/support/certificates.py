"""Valid and invalid certificates of a private certificate authority, as files."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import trustme

HOST = "127.0.0.1"


class Certificates:
    """A trusted private authority, and another one."""

    def __init__(self, folder: Path) -> None:
        """Creates both; `authority` is the file of the trusted one."""
        self._folder = folder
        self._own, self._other = trustme.CA(), trustme.CA()
        self.authority = folder / "authority.pem"
        self._own.cert_pem.write_to_path(self.authority)
        self.other_authority = folder / "other-authority.pem"
        self._other.cert_pem.write_to_path(self.other_authority)

    def issue(self, kind: str = "good") -> tuple[Path, Path]:
        """Creates a certificate with its chain, and its key; returns the two files.

        `kind` is `good`, or the fault: expired, another host, or another authority.
        """
        authority = self._other if kind == "another authority" else self._own
        host = "shop.example" if kind == "another host" else HOST
        yesterday = datetime.now(timezone.utc) - timedelta(days=1)
        expiry = yesterday if kind == "expired" else None
        issued = authority.issue_cert(host, not_after=expiry)
        name = kind.replace(" ", "-")
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        # Readable for servers that run as another user; PostgreSQL refuses keys that all can read.
        certificate.chmod(0o644)
        key.chmod(0o600)
        return certificate, key


BAD = ("expired", "another host", "another authority")
