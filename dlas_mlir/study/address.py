"""Where schedulers are, who may speak to them, and why one cannot be reached.

What Dask sends is pickled Python: whoever reaches a port of it can run code there. So an address is on this machine
alone, or speaks TLS and demands a certificate of either side.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from distributed.security import Security

PORT = 8786
# In the folder that --tls names.
AUTHORITY, CERTIFICATE, KEY = "ca.pem", "cert.pem", "key.pem"
_HELP = "docs/distributed.md shows how certificates are made"


@dataclass(frozen=True)
class Address:
    """Where a scheduler is, or is to be: `tls` is the folder of certificates, None for plain TCP."""

    host: str
    port: int
    tls: Path | None = None

    @property
    def url(self) -> str:
        """As Dask takes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'tcp'}://{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return _is_loopback(self.host)

    def security(self) -> Security | None:
        """What Dask is told: both sides show a certificate of the authority. None for plain TCP."""
        if self.tls is None:
            return None
        from distributed.security import Security

        cert, key = str(self.tls / CERTIFICATE), str(self.tls / KEY)
        return Security(
            require_encryption=True,
            tls_ca_file=str(self.tls / AUTHORITY),
            **{f"tls_{role}_{part}": file for role in _ROLES for part, file in (("cert", cert), ("key", key))},
        )


_ROLES = ("client", "scheduler", "worker")


def parse_address(text: str, tls: Path | None) -> Address:
    """The scheduler at `text`, such as tcp://127.0.0.1:8786 or tls://HOST:PORT, with the certificates in the folder
    `tls`. Raises DlasError for one that others could reach without them, and for files that are missing or open to
    others."""
    parts = urlsplit(text)
    try:
        host, port = parts.hostname, PORT if parts.port is None else parts.port
    except ValueError:
        host, port = None, PORT
    if parts.scheme not in ("tcp", "tls") or not host or parts.path or parts.query:
        raise DlasError(f"`{text}` is no address of a scheduler: expected tls://HOST:PORT, or tcp://127.0.0.1:PORT")
    if parts.scheme == "tcp":
        if not _is_loopback(host):
            raise DlasError(
                f"`{text}` can be reached from other machines, and whoever reaches it can run code here and there: "
                f"use tls://{parts.netloc} and --tls FOLDER with certificates of either side; {_HELP}"
            )
        if tls is not None:
            raise DlasError(f"--tls goes with tls://{parts.netloc}, not with tcp://")
        return Address(host, port)
    if tls is None:
        raise DlasError(f"`{text}` needs --tls FOLDER with {AUTHORITY}, {CERTIFICATE} and {KEY}; {_HELP}")
    _check_files(tls)
    return Address(host, port, tls)


def own_address(tls: Path | None) -> Address:
    """Any free port of this machine, for itself alone; with the certificates in `tls`, if any, its other users are kept
    out, too. Raises DlasError as `parse_address`."""
    return parse_address(f"{'tls' if tls else 'tcp'}://127.0.0.1:0", tls)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: what it stands for may change
        return False


def _check_files(folder: Path) -> None:
    for name in (AUTHORITY, CERTIFICATE, KEY):
        if not (folder / name).is_file():
            raise DlasError(f"there is no file {folder / name}; {_HELP}")
    key = folder / KEY
    if key.stat().st_mode & 0o077:
        raise DlasError(f"{key} can be read by others: chmod 600 {key}")
    _context(folder, ssl.Purpose.SERVER_AUTH)


def _context(folder: Path, purpose: ssl.Purpose) -> ssl.SSLContext:
    """As Dask's: it is the authority that counts, not the name in the certificate."""
    try:
        context = ssl.create_default_context(purpose, cafile=str(folder / AUTHORITY))
        context.check_hostname = False
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    except (ssl.SSLError, OSError) as error:
        raise DlasError(f"{folder}: these certificates cannot be used: {error.strerror or error}") from None
    return context


def reach(address: Address, seconds: float) -> str:
    """Speak to the scheduler at `address`, at most `seconds` long, as one who is admitted; the address of ours that
    it sees.

    Raises ConnectionError where nobody answers (now), and DlasError where it is of no use to try again: a certificate
    that one of the two does not take, or something that is no scheduler.
    """
    try:
        with socket.create_connection((address.host, address.port), timeout=seconds) as plain:
            if address.tls is None:
                return _greeted(plain, address)
            try:
                with _context(address.tls, ssl.Purpose.SERVER_AUTH).wrap_socket(plain) as secure:
                    return _greeted(secure, address)
            except ssl.SSLError as error:
                raise DlasError(_why(address, error)) from None
    except ConnectionError as error:
        if error.strerror is None:
            raise  # ours
        raise ConnectionError(f"nobody answers at {address.url}: {error.strerror}") from None
    except TimeoutError:
        raise ConnectionError(f"nobody answers at {address.url} within {seconds:g} s") from None
    except socket.gaierror as error:
        raise ConnectionError(f"there is no host {address.host}: {error.strerror}") from None
    except OSError as error:
        raise ConnectionError(f"nobody answers at {address.url}: {error.strerror or error}") from None


def _greeted(connection: socket.socket, address: Address) -> str:
    """Dask's servers speak first; one that has refused our certificate says so only now."""
    hint = "" if address.tls else ", or does it speak TLS (tls:// and --tls)"
    try:
        greeting = connection.recv(1)
    except TimeoutError:
        raise ConnectionError(f"{address.url} says nothing: is it a scheduler{hint}?") from None
    if not greeting:
        raise ConnectionError(f"{address.url} has closed the connection at once: is it a scheduler{hint}?")
    return connection.getsockname()[0]


def _why(address: Address, error: ssl.SSLError) -> str:
    assert address.tls is not None
    authority = address.tls / AUTHORITY
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {address.url} is not taken: {error.verify_message}. Was it signed by the authority "
            f"in {authority}?"
        )
    text = (error.reason or str(error)).lower().replace("_", " ")
    if "alert" in text:
        return (
            f"{address.url} does not take the certificate in {address.tls / CERTIFICATE} ({text}): it was signed by "
            "another authority than the scheduler's, or its time is over"
        )
    return f"{address.url} does not speak TLS, or not with us: {text}"
