"""Sealed packs: what went in comes out for the right key, and for nobody and nothing else."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from mfs_edge.base.errors import InputError, MfsEdgeError, UsageError
from mfs_edge.pack import sealed

DATA = bytes(range(256)) * 300  # 76,800: more than one of age's blocks of 64 KiB
# Made by age 1.1.1 and age-keygen 1.1.1, of b"a pack"; the key is of no other use.
KEY_FILE = """\
# created: 2026-11-25T15:55:59Z
# public key: age1hq0zlgyme9503xw57z5wmud6a3w43vy8cl63lgqh7wr2du6h7ees4v8u74
AGE-SECRET-KEY-1Y9WAX5LS7KWXQA26K2D46E5MGHY80V0H7EK8N2P9NCCP6NPNG7ASUAN2YJ
"""
BY_AGE = b"""\
-----BEGIN AGE ENCRYPTED FILE-----
YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBIT3pEdkJ2NS9Wd1cvKzJZ
bnZDWWFKNXRNaERJRlpNS0E3VHNTS0dqRGdvCndPZmgwK3V4SUlYanRkcmJQUFNo
RGsxQ05FSFdXYkd0YXc3TDE5bzNON28KLS0tIDZxVSt1SjFpeVVQSkQ3a0ZmQnda
YVJYbHV0ZldTekVSZUJwWXZBQWxISFUKr5EuyKynyNuFRRVCssDca8bRazqrxAvp
5TLkO177QEglBKGlO0s=
-----END AGE ENCRYPTED FILE-----
"""
BY_AGE_WITH_PASSPHRASE = b"""\
-----BEGIN AGE ENCRYPTED FILE-----
YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBDTkxVVTM4a0dUdHhVdWwx
RkdRUFF3IDE4CmFtOUxMU3MxR1dwb2g1UzAzUGR0dmQvZjBlRXY5UGFtTUYrUTRP
QUM2ZUEKLS0tIDlDQXdrbGJrVllCM0hnWExQTFRXRk96ZjJvQjQ2TWFmd00yUFJD
SnRPbTQKddSaI1/cwrB1QdNh8VTVtr6ZyxChU7ZeRaQ6SH5YnDy0Tqo3zXg=
-----END AGE ENCRYPTED FILE-----
"""
PASSPHRASE = "correct horse"


def pair() -> tuple[str, str]:
    """A new secret key, and its recipient."""
    key = pyrage.x25519.Identity.generate()
    return str(key), str(key.to_public())


def ssh_pair(folder: Path, *, kind: str, passphrase: str = "") -> tuple[Path, str]:
    """A new SSH key's file, and its public key as ``.pub`` holds it, with a comment."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "me@here", "-f", str(folder / kind)]
    subprocess.run(command, check=True, input=b"", timeout=60)
    return folder / kind, (folder / f"{kind}.pub").read_text()


@pytest.fixture(autouse=True)
def no_key_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sealed.VARIABLE, raising=False)
    monkeypatch.delenv(sealed.PASSPHRASE, raising=False)


def refused(error: pytest.ExceptionInfo[MfsEdgeError], *words: str) -> None:
    """In one line, with exit code 2, and with nothing of a secret key in it."""
    said = str(error.value)
    assert error.value.exit_code == 2
    assert "\n" not in said
    for word in words:
        assert word in said
    assert not re.search(r"AGE-SECRET-KEY-1\w", said, re.I)


# --- round trips ---------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"x", DATA, bytes(65536), bytes(65537)], ids=len)
def test_what_went_in_comes_out(data: bytes) -> None:
    secret, public = pair()
    packed = sealed.seal(data, [public])
    assert sealed.is_sealed(packed)
    assert not sealed.is_sealed(data)
    assert sealed.open_(packed, [secret]) == data
    assert len(packed) < len(data) + 400 + 16 * (len(data) // 65536)
    assert DATA[:32] not in packed


def test_each_of_several_recipients_opens_it_alone_and_a_stranger_does_not() -> None:
    pairs = [pair() for _ in range(3)]
    packed = sealed.seal(DATA, [public for _, public in pairs])
    stranger, _ = pair()
    for secret, _ in pairs:
        assert sealed.open_(packed, [secret]) == DATA
        assert sealed.open_(packed, [stranger, secret]) == DATA
    with pytest.raises(InputError) as error:
        sealed.open_(packed, [stranger], source="a.pack")
    refused(error, "a.pack", "other keys", "--key")


def test_the_same_sealed_twice_is_not_the_same() -> None:
    _, public = pair()
    assert sealed.seal(DATA, [public]) != sealed.seal(DATA, [public])


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_ssh_keys(kind: str, tmp_path: Path) -> None:
    secret, public = ssh_pair(tmp_path, kind=kind)
    packed = sealed.seal(DATA, sealed.recipients([public]))
    assert sealed.open_(packed, sealed.keys(secret)) == DATA


def test_a_passphrase() -> None:
    packed = sealed.seal(DATA, [], passphrase=PASSPHRASE)
    assert sealed.open_(packed, [], passphrase=PASSPHRASE) == DATA
    with pytest.raises(InputError) as error:
        sealed.open_(packed, [], passphrase="correct house", source="a.pack")
    refused(error, "a.pack", "the passphrase is another")
    secret, public = pair()
    with pytest.raises(InputError) as error:
        sealed.open_(packed, [secret], source="a.pack")
    refused(error, "a.pack", "sealed with a passphrase", sealed.PASSPHRASE)
    assert sealed.open_(sealed.seal(DATA, [public]), [secret], passphrase=PASSPHRASE) == DATA  # not needed: no harm


@pytest.mark.parametrize("work", [21, 30, 63, 10**20])
@pytest.mark.parametrize("armoured", [False, True])
def test_a_passphrase_that_would_take_gigabytes_is_refused_at_once(work: int, armoured: bool) -> None:
    """Whoever writes a file chooses the work; 2^30 KiB would be a terabyte."""
    costly = b"age-encryption.org/v1\n-> scrypt CNLUU38kGTtxUul1FGEPQw %d\n" % work + bytes(100)
    if armoured:
        lines = base64.encodebytes(costly)
        costly = b"-----BEGIN AGE ENCRYPTED FILE-----\n%b-----END AGE ENCRYPTED FILE-----\n" % lines
    with pytest.raises(InputError) as error:
        sealed.open_(costly, [], passphrase=PASSPHRASE, source="a.pack")
    refused(error, "a.pack", "memory")


# --- age's own files -----------------------------------------------------------------------


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
@pytest.mark.parametrize("before", [b"", b"\n\n"])
def test_what_age_wrote(before: bytes, ends: bytes, tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text(KEY_FILE)
    armoured = before + BY_AGE.replace(b"\n", ends)
    assert sealed.is_sealed(armoured)
    assert sealed.open_(armoured, sealed.keys(tmp_path / "key.txt")) == b"a pack"
    assert sealed.open_(before + BY_AGE_WITH_PASSPHRASE.replace(b"\n", ends), [], passphrase=PASSPHRASE) == b"a pack"


def test_what_age_wrote_in_binary(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text(KEY_FILE)
    binary = base64.b64decode(b"".join(BY_AGE.splitlines()[1:-1]))
    assert sealed.is_sealed(binary)
    assert sealed.open_(binary, sealed.keys(tmp_path / "key.txt")) == b"a pack"


@pytest.mark.skipif(shutil.which("age") is None, reason="no age here; CI installs it")
@pytest.mark.parametrize("armour", [[], ["--armor"]])
def test_age_reads_ours_and_we_read_its(armour: list[str], tmp_path: Path) -> None:
    key = tmp_path / "key.txt"
    subprocess.run(["age-keygen", "-o", str(key)], check=True, capture_output=True, timeout=60)
    public = subprocess.run(["age-keygen", "-y", str(key)], check=True, capture_output=True, text=True).stdout.strip()
    ours, plain, theirs = tmp_path / "ours", tmp_path / "plain", tmp_path / "theirs"
    ours.write_bytes(sealed.seal(DATA, sealed.recipients([public])))
    read = subprocess.run(["age", "-d", "-i", str(key), str(ours)], check=True, capture_output=True, timeout=60)
    assert read.stdout == DATA
    plain.write_bytes(DATA)
    subprocess.run(["age", *armour, "-r", public, "-o", str(theirs), str(plain)], check=True, timeout=60)
    assert sealed.open_(theirs.read_bytes(), sealed.keys(key)) == DATA


# --- damage --------------------------------------------------------------------------------


def places(packed: bytes) -> dict[str, int]:
    """A byte in each part of a sealed file."""
    header = packed.index(b"\n--- ")
    payload = packed.index(b"\n", header + 1) + 1
    return {
        "version": 21,
        "kind of recipient": packed.index(b"X25519"),
        "share": packed.index(b"X25519 ") + 20,
        "wrapped key": packed.index(b"\n", 40) + 10,
        "mark of the MAC": header + 2,
        "MAC": header + 10,
        "nonce": payload + 3,
        "first block": payload + 16 + 100,
        "first tag": payload + 16 + 65536 + 5,
        "second block": payload + 16 + 65552 + 100,
        "last byte": len(packed) - 1,
    }


def test_a_changed_byte_anywhere_is_refused() -> None:
    secret, public = pair()
    packed = sealed.seal(DATA, [public])
    for position in places(packed).values():
        for bit in (0x01, 0x80):
            damaged = bytearray(packed)
            damaged[position] ^= bit
            with pytest.raises(InputError) as error:
                sealed.open_(bytes(damaged), [secret], source="a.pack")
            refused(error, "a.pack", "damaged")


def test_every_byte_of_a_small_one() -> None:
    secret, public = pair()
    packed = sealed.seal(b"payload", [public])
    for position in range(len(packed)):
        damaged = bytearray(packed)
        damaged[position] ^= 0x04
        with pytest.raises(InputError):
            sealed.open_(bytes(damaged), [secret])


def test_a_shortened_or_lengthened_one_is_refused() -> None:
    secret, public = pair()
    packed = sealed.seal(DATA, [public])
    blocks = packed.index(b"\n", packed.index(b"\n--- ") + 1) + 1 + 16
    for length in (19, 25, 60, 150, blocks - 1, blocks, blocks + 65552, len(packed) - 1):  # 65552: one whole block
        with pytest.raises(InputError) as error:
            sealed.open_(packed[:length], [secret], source="a.pack")
        refused(error, "a.pack")
    with pytest.raises(InputError) as error:
        sealed.open_(packed + b"\0", [secret], source="a.pack")
    refused(error, "damaged")
    for number in (0, 1, 4):  # lines of an armoured one
        lines = BY_AGE.splitlines(keepends=True)
        with pytest.raises(InputError):
            sealed.open_(b"".join(lines[: number + 1]), [KEY_FILE.split()[-1]])


def test_what_is_not_sealed(tmp_path: Path) -> None:
    for data in (b"", b"age", b"PK\3\4", b'\x10\0\0\0\0\0\0\0{"__metadata__"', b"\n\n{}"):
        assert not sealed.is_sealed(data)
        with pytest.raises(InputError) as error:
            sealed.open_(data, [pair()[0]], source="a.pack")
        refused(error, "a.pack", "not sealed")


# --- recipients and keys -------------------------------------------------------------------


def test_a_file_of_recipients(tmp_path: Path) -> None:
    (one, first), (two, second), (three, third) = (pair() for _ in range(3))
    listed = tmp_path / "age1 list.txt"  # a file's name may begin like a recipient
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        listed.write_bytes(f"# the team\r\n\r\n{first}\r\n  {second}  \r\n".encode(encoding))
        found = sealed.recipients([str(listed), third])
        assert found == [first, second, third]
        packed = sealed.seal(DATA, found)
        assert all(sealed.open_(packed, [key]) == DATA for key in (one, two, three))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("age1qqqq", "cannot be used"),
        ("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", "cannot be used"),
        ("ssh-ed25519 AAAA", "cannot be used"),
        ("ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAI", "cannot be used"),
        ("no/such/file", "neither a recipient"),
        ("", "neither a recipient"),
        ("x" * 5000, "neither a recipient"),
        ("a\0b", "neither a recipient"),
        (KEY_FILE.split()[-1], "public half"),
        (KEY_FILE.split()[-1].lower(), "public half"),
        (" " + KEY_FILE.split()[-1], "public half"),
    ],
)
def test_what_is_no_recipient(given: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        sealed.recipients([given])
    refused(error, says, "age-keygen")
    assert len(str(error.value)) < 300


def test_files_that_are_no_list_of_recipients(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text(KEY_FILE)
    (tmp_path / "comments").write_text("# nobody\n\n")
    (tmp_path / "binary").write_bytes(b"\x80\x81" * 10)
    for name, says in (("key.txt", "public half"), ("comments", "no recipient"), ("binary", "text"), ("", "folder")):
        with pytest.raises(MfsEdgeError) as error:
            sealed.recipients([str(tmp_path / name)])
        refused(error, name, says)


@pytest.mark.parametrize("count", [0, 1])
def test_recipients_or_a_passphrase(count: int) -> None:
    with pytest.raises(UsageError) as error:
        sealed.seal(DATA, [pair()[1]] * count, passphrase=PASSPHRASE if count else None)
    refused(error, "either recipients or a passphrase")
    with pytest.raises(UsageError) as error:
        sealed.seal(DATA, [], passphrase="")
    refused(error, "passphrase is empty")


def test_the_key_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sealed.keys() == []
    packed = BY_AGE
    with pytest.raises(InputError) as error:
        sealed.open_(packed, sealed.keys(), source="a.pack")
    refused(error, "a.pack", "is sealed", "--key", "$MFS_EDGE_KEY")
    (tmp_path / "key.txt").write_text(KEY_FILE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(sealed.VARIABLE, "~/key.txt")
    assert sealed.open_(packed, sealed.keys()) == b"a pack"
    other = tmp_path / "other.txt"
    other.write_text(pair()[0])
    assert sealed.keys(other) == [other.read_text()]  # what is given goes before


def test_a_key_file_of_several_and_one_that_is_sealed_itself(tmp_path: Path) -> None:
    secret, public = pair()
    path = tmp_path / "key.txt"
    path.write_text(f"{KEY_FILE}\n{secret}\n")
    assert sealed.open_(sealed.seal(DATA, [public]), sealed.keys(path)) == DATA
    assert sealed.open_(BY_AGE, sealed.keys(path)) == b"a pack"
    path.write_bytes(sealed.seal(path.read_bytes(), [], passphrase=PASSPHRASE))
    assert sealed.open_(BY_AGE, sealed.keys(path, passphrase=PASSPHRASE)) == b"a pack"
    with pytest.raises(InputError) as error:
        sealed.keys(path)
    refused(error, "key.txt", "sealed with a passphrase")


def test_files_that_are_no_key(tmp_path: Path) -> None:
    locked, public = ssh_pair(tmp_path, kind="ed25519", passphrase="words")
    secret, _ = pair()
    wrong = {
        "public": (public.encode(), "no key that can be used"),
        "cut": (secret[:-3].encode(), "no key that can be used"),
        "locked": (locked.read_bytes(), "ssh-keygen -p"),
        "half": (locked.read_bytes()[:60], "no key that can be used"),
        "comments": (b"# created\n", "holds no key"),
        "binary": (b"\x80\x81" * 9, "text"),
        "empty": (b"", "empty"),
    }
    for name, (content, says) in wrong.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as error:
            sealed.keys(tmp_path / name)
        refused(error, name, says)
        assert secret[20:40] not in str(error.value)
    with pytest.raises(InputError) as error:
        sealed.keys(tmp_path / "missing")
    refused(error, "missing", "no such file")


def test_without_the_library_it_is_named(tmp_path: Path) -> None:
    """In a process where it cannot be imported: telling a sealed file needs nothing, opening and sealing it do."""
    script = (
        "import sys; sys.modules['pyrage'] = None\n"
        "from mfs_edge.base.errors import MissingDependency\n"
        "from mfs_edge.pack import sealed\n"
        "assert sealed.is_sealed(b'age-encryption.org/v1\\n')\n"
        "for call in (lambda: sealed.seal(b'', ['age1x']), lambda: sealed.open_(b'age-encryption.org/v1\\n', ['x']),\n"
        "             lambda: sealed.recipients(['age1x'])):\n"
        "    try:\n"
        "        call()\n"
        "    except MissingDependency as error:\n"
        "        print(error.exit_code, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=os.environ)
    said = done.stdout.splitlines()
    assert (len(said), done.stderr) == (3, "")
    assert all(line.startswith("3 pyrage") and "pip install 'mfs-edge[age]'" in line for line in said)
