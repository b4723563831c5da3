"""Valid and invalid certificates of a private certificate authority, as files."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import trustme

HOST = "127.0.0.1"


class Certificates:
    """A private authority, and another that nobody trusts."""

    def __init__(self, folder: Path) -> None:
        """Makes both; `authority` is the file to trust."""
        self._folder = folder
        self._own, self._other = trustme.CA(), trustme.CA()
        self.authority = folder / "authority.pem"
        self._own.cert_pem.write_to_path(self.authority)
        self.other_authority = folder / "other-authority.pem"
        self._other.cert_pem.write_to_path(self.other_authority)

    def issue(self, kind: str = "good") -> tuple[Path, Path]:
        """Makes a certificate with its chain, and its key; returns the two files.

        `kind` is good, or what is wrong with it: expired, another host, or another authority.
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
        # A server that runs as another user reads them too, and PostgreSQL wants nobody else to.
        certificate.chmod(0o644)
        key.chmod(0o600)
        return certificate, key


BAD = ("expired", "another host", "another authority")
