"""Addresses as OpenSSH and URLs write them, and what ssh itself makes of them."""

from __future__ import annotations

import subprocess
from typing import cast

import pytest

from mfs_edge.base.errors import UsageError
from mfs_edge.measure.devices import Options, open_device
from mfs_edge.measure.devices.address import parse
from mfs_edge.measure.devices.ssh import SshDevice

ADDRESSES = [
    ("pi.local", "", "pi.local", ""),
    ("pi@raspberry_4", "pi", "raspberry_4", ""),
    ("pi@10.0.0.7:2222", "pi", "10.0.0.7", "2222"),
    ("pi@fe80::1", "pi", "fe80::1", ""),
    ("fe80::1", "", "fe80::1", ""),
    ("::1", "", "::1", ""),
    ("pi@fe80::1%eth0", "pi", "fe80::1%eth0", ""),
    ("2001:db8::5:2222", "", "2001:db8::5:2222", ""),  # every colon is the address's own
    ("[2001:db8::5]:2222", "", "2001:db8::5", "2222"),
    ("[2001:db8::5]", "", "2001:db8::5", ""),
    ("pi@[fe80::1%wlan0]:22", "pi", "fe80::1%wlan0", "22"),
    ("::ffff:10.0.0.7", "", "::ffff:10.0.0.7", ""),
    ("[pi.local]:2222", "", "pi.local", "2222"),
    ("me@company@bastion:22", "me@company", "bastion", "22"),  # the last @ divides
    ("//pi@host", "pi", "host", ""),
    ("//pi@host:2222", "pi", "host", "2222"),
    ("//host/", "", "host", ""),
    ("//pi@[2001:db8::5]:2222/", "pi", "2001:db8::5", "2222"),
    ("//[fe80::1%25eth0]:22", "", "fe80::1%eth0", "22"),
    ("//[fe80::1%eth0]", "", "fe80::1%eth0", ""),
    ("//fe80::1", "", "fe80::1", ""),
    ("//me%40company@host", "me@company", "host", ""),
]


@pytest.mark.parametrize(("written", "user", "host", "port"), ADDRESSES)
def test_what_an_address_says(written: str, user: str, host: str, port: str) -> None:
    found = parse(written)
    assert (found.user, found.host, found.port) == (user, host, port)


@pytest.mark.parametrize(("written", "user", "host", "port"), ADDRESSES)
def test_ssh_understands_the_same(written: str, user: str, host: str, port: str) -> None:
    """``ssh -G`` prints where it would go."""
    device = cast(SshDevice, open_device(f"ssh:{written}", Options()))
    asked = [*device.command, "-G", "-F", "/dev/null", *device.options, "--", device.address.target]
    told = dict(line.split(" ", 1) for line in subprocess.check_output(asked, text=True).splitlines())
    assert told["hostname"] == host
    assert told["port"] == (port or "22")
    assert not user or told["user"] == user
    assert device.host == host


@pytest.mark.parametrize(
    "written",
    [
        *("", "@host", "user@", "-oProxyCommand=x", "pi@-oProxyCommand=x", "pi@host:ssh", "pi@host:0", "pi@host:65536"),
        *("host:", "host:٢٢", "fe80::g", "fe80::1:99999", "1:2:3", "[fe80::1", "[fe80::1]22", "[fe80::1]:", "[]:22"),
        *("[1:2]:22", "pi@a b", "pi@a;reboot", "pi@$(x)", "pi@`x`", "pi@a\nb", "pi\n@a", "//pi:secret@host", "//"),
        *("//host/path", "-x@host", "[fe80::1]:22:22"),
    ],
)
def test_addresses_that_are_none(written: str) -> None:
    with pytest.raises(UsageError, match="write ssh:USER@HOST"):
        open_device(f"ssh:{written}", Options())


def test_hints_name_the_port() -> None:
    assert parse("pi@[fe80::1]:2222").known_as == "[fe80::1]:2222"
    assert parse("pi@host:22").known_as == parse("host").known_as == "host"
