"""Where ssh goes: ``[USER@]HOST[:PORT]`` or ``ssh://[USER@]HOST[:PORT]``, as OpenSSH reads them.

A host may be an IPv6 address, with a scope (``fe80::1%eth0``). It needs brackets only where a port
follows; without them every colon is the address's own.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote

from mfs_edge.base.errors import UsageError

# Of no host, and what OpenSSH refuses in one as its ProxyCommand may hand it to a shell.
_NEVER = re.compile(r"""[\s\x00-\x1f\x7f'"`$\\;&<>|(){}@/\[\]]""")
_USERLESS = re.compile(r"[\s\x00-\x1f\x7f]")
_PORTS = range(1, 65536)


@dataclass(frozen=True)
class Address:
    """Parsed; the port is empty where ssh's own configuration decides."""

    user: str
    host: str  # without brackets; with its scope
    port: str

    @property
    def target(self) -> str:
        """What ssh takes as its destination."""
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def known_as(self) -> str:
        """As it stands in ``known_hosts``."""
        return f"[{self.host}]:{self.port}" if self.port not in ("", "22") else self.host


def parse(written: str) -> Address:
    """The address after ``ssh:``.

    Raises:
        UsageError: it is none.
    """
    url = written.startswith("//")
    user, at, rest = (written[2:].removesuffix("/") if url else written).rpartition("@")
    if url and ":" in user:
        raise _refusal(written, "has a password, which ssh takes from nobody but a key or an agent")
    host, port = _host_and_port(written, rest)
    if url:  # %25 is how a URL writes the % of a scope
        user, host = unquote(user), host.replace("%25", "%")
    if (at and not user) or user.startswith("-") or _USERLESS.search(user):
        raise _refusal(written, "has no user before @" if at and not user else "has a user that cannot be one")
    if not host or host.startswith("-") or _NEVER.search(host):
        raise _refusal(written, "has a host that cannot be one" if host else "names no host")
    if port and not (port.isascii() and port.isdigit() and int(port[:6]) in _PORTS):
        raise _refusal(written, f"has port {port}, which is none of 1 to 65535")
    return Address(user, host, port)


def _host_and_port(written: str, rest: str) -> tuple[str, str]:
    if rest.startswith("["):
        host, bracket, after = rest[1:].partition("]")
        if not bracket or (after and not after.startswith(":")) or after == ":":
            raise _refusal(written, "has brackets that do not close, or no port after them")
        if not _ipv6(host.replace("%25", "%")) and ":" in host:
            raise _refusal(written, f"has {host} in brackets, which is no IPv6 address")
        return host, after[1:]
    if rest.count(":") > 1:
        if not _ipv6(rest):
            raise _refusal(written, "is no IPv6 address; if a port follows it, put the address in brackets")
        return rest, ""
    host, colon, port = rest.partition(":")
    if colon and not port:
        raise _refusal(written, "has no port after the colon")
    return host, port


def _ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _refusal(written: str, why: str) -> UsageError:
    return UsageError(f"--device ssh:{written}: {why}; write ssh:USER@HOST, ssh:USER@HOST:PORT or ssh:USER@[IPV6]:PORT")
