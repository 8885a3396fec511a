"""The configuration of Pebble, the tests' ACME server, and its own server certificate."""

from __future__ import annotations

import ipaddress
import json
import shutil
import ssl
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support.project import ROOT

DIRECTORY: Final = "https://pebble:14000/dir"
LIMITED_DIRECTORY: Final = "https://limited:14000/dir"  # of the server that answers 429
LIMITED: Final = ROOT / "tests/support/limited_ca.py"
NAMES: Final = ("pebble", "limited", "api.twilio.com")
TIMEOUT: Final = 20.0

CONFIGURATION: Final = {
    "listenAddress": "0.0.0.0:14000",
    "managementListenAddress": "0.0.0.0:15000",
    "certificate": "/acme/pebble.pem",
    "privateKey": "/acme/pebble.key",
    "httpPort": 80,
    "tlsPort": 443,
    "ocspResponderURL": "",
    "externalAccountBindingRequired": False,
    "domainBlocklist": ["blocked.example"],
    "retryAfter": {"authz": 1, "order": 1},
    "profiles": {
        "default": {"description": "90 days", "validityPeriod": 90 * 86400},
        "tlsserver": {"description": "45 days", "validityPeriod": 45 * 86400},
        "shortlived": {"description": "6 days", "validityPeriod": 6 * 86400},
    },
}


def prepare(folder: Path) -> None:
    """Write what the containers find in /acme. ``root.pem`` is replaced by Pebble's when `fetch_root` runs."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the tests' ACME server")])
    now = datetime.now(UTC)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([*(x509.DNSName(name) for name in NAMES), loopback]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for file, content in {"ca.pem": pem, "pebble.pem": pem, "pebble.key": private, "root.pem": pem}.items():
        (folder / file).write_bytes(content)
    shutil.copy(LIMITED, folder)
    (folder / "pebble.json").write_text(json.dumps({"pebble": CONFIGURATION}))


def fetch_root(folder: Path, management_port: int) -> None:
    """Write the root of Pebble's certificates to ``root.pem``. Pebble makes a new one at each start."""
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(f"https://127.0.0.1:{management_port}/roots/0", timeout=TIMEOUT) as answer:
        (folder / "root.pem").write_bytes(answer.read())
