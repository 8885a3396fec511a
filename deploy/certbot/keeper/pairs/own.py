"""A certificate of your own (TLS_CERTIFICATE, TLS_KEY), which somebody else renews: each new one is published."""

from __future__ import annotations

import tempfile
from pathlib import Path

from keeper.errors import PublishError
from keeper.pairs import certificate
from keeper.pairs.certificate import Certificate
from keeper.pairs.published import Published
from keeper.settings import OwnPair


class OwnCertificate:
    """Watches the two files."""

    def __init__(self, pair: OwnPair, published: Published, names: tuple[str, ...]) -> None:
        self._pair = pair
        self._published = published
        self._names = names
        self._seen_before: tuple[bytes, bytes] | None = None
        self.is_settling = False  # at the last look, the files seemed to be in the middle of being replaced

    async def publish(self) -> Certificate | None:
        """Publish the pair if it is another one than the published one. Return its certificate if it was published.

        Files that do not belong together are looked at once more before that is an error, because they may be in the
        middle of being replaced. Raises `PublishError`; then everything is as it was.
        """
        self.is_settling = False
        files = self._read()
        if self._published.holds(*files):
            return None
        with tempfile.TemporaryDirectory(prefix="callgate-own-") as folder:
            copy = Path(folder)
            (copy / "fullchain.pem").write_bytes(files[0])
            (copy / "privkey.pem").touch(mode=0o600)
            (copy / "privkey.pem").write_bytes(files[1])
            self.is_settling = bool(certificate.flaw(copy)) and self._seen_before != files
            self._seen_before = files
            if self.is_settling:
                return None
            try:
                await self._published.publish(copy, names=self._names)
            except PublishError as error:
                says = str(error).replace(f"{copy}/fullchain.pem", str(self._pair.certificate))
                says = says.replace(f"{copy}/privkey.pem", str(self._pair.key))
                where = f"{self._pair.certificate} and {self._pair.key}"
                raise PublishError(says.replace(str(copy), where)) from error
        return self._published.certificate()

    def _read(self) -> tuple[bytes, bytes]:
        found = []
        for name, path in (("TLS_CERTIFICATE", self._pair.certificate), ("TLS_KEY", self._pair.key)):
            try:
                found.append(path.read_bytes())
            except OSError as error:
                hint = "in the bundle, put it into the folder tls, and let user 10002 read it"
                raise PublishError(f"{name} is {path}, which can't be read ({error.strerror}): {hint}") from error
        return found[0], found[1]
