"""Packs that only the holders of a key can read: the age format (age-encryption.org/v1), by pyrage.

A sealed file is told by its first bytes, so that whoever reads packs need not be told. Recipients are public and
may be passed around: ``age1...`` or an SSH public key (ed25519, RSA). Keys are the secrets that belong to them:
``AGE-SECRET-KEY-1...`` or an OpenSSH private key; no message of this module repeats any of their signs. ``age``,
``age-keygen`` and ``rage`` read and write the same files.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mfs_edge.base import config, extras, files, text
from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.base.reasons import reason_of

EXTRA = "age"
VARIABLE = "MFS_EDGE_KEY"  # the path of a file
PASSPHRASE = "MFS_EDGE_PASSPHRASE"
_HEADER = b"age-encryption.org/"
_ARMOUR = b"-----BEGIN AGE ENCRYPTED FILE-----"
_BLANK = b" \t\r\n"
_LOCK = re.compile(rb"age-encryption\.org/v1\n-> scrypt \S+ (\d+)\n")
_MOST_WORK = 20  # 2^20 KiB of memory to try a passphrase; age writes 18, and whoever writes a file chooses
_SECRET = "AGE-SECRET-KEY-1"
_PRIVATE = "-----BEGIN "  # of an SSH key
_SHOWN = 24  # signs of a recipient in a message
_MAKE_ONE = "make a pair with: age-keygen -o key.txt"
_NO_KEY = f"give --key FILE, or name it in ${VARIABLE}"


def is_sealed(data: bytes) -> bool:
    """Whether a file that begins with ``data`` is an age file, binary or armoured, whole or not."""
    return data.startswith(_HEADER) or data.lstrip(_BLANK).startswith(_ARMOUR)


def seal(data: bytes, recipients: Sequence[str], *, passphrase: str | None = None) -> bytes:
    """``data``, to be read with the key of any of the recipients, or with the passphrase.

    Sealing the same twice gives different bytes: each has a random key of its own.

    Args:
        data: whatever is to be kept secret; 16 bytes more per 64 KiB, and some 200 for the header, come out.
        recipients: as :func:`recipients` gives them.
        passphrase: in the place of recipients; takes about a second, by design.

    Raises:
        UsageError: no recipient, one that cannot be read, or a passphrase beside recipients.
        MissingDependency: pyrage is not installed.
    """
    if (passphrase is not None) == bool(recipients):
        raise UsageError("sealing needs either recipients or a passphrase; give --recipient age1..., " + _MAKE_ONE)
    if passphrase == "":
        raise UsageError("the passphrase is empty; give one of several words")
    pyrage = extras.require("pyrage", EXTRA)
    if passphrase is not None:
        return bytes(pyrage.passphrase.encrypt(data, passphrase))
    return bytes(pyrage.encrypt(data, [_recipient(key) for key in recipients]))


def open_(data: bytes, keys: Sequence[str], *, passphrase: str | None = None, source: str | Path = "the pack") -> bytes:
    """What was sealed; every byte of it is authenticated.

    Args:
        data: of a whole age file, binary or armoured.
        keys: as :func:`keys` gives them; that they are none is told if one is needed.
        passphrase: for what was sealed with one.
        source: the file, for messages.

    Raises:
        InputError: no key fits, a byte was changed or is missing, or it is not sealed at all.
        MissingDependency: pyrage is not installed.
    """
    if not is_sealed(data):
        raise InputError(f"{source}: is not sealed (no age header); read it as it is")
    pyrage = extras.require("pyrage", EXTRA)
    data = data if data.startswith(_HEADER) else data.lstrip(_BLANK)
    locked = _by_passphrase(data, source)
    if locked and passphrase is None:
        raise InputError(f"{source}: is sealed with a passphrase; give it in ${PASSPHRASE}")
    if not locked and not keys:
        raise InputError(f"{source}: is sealed; {_NO_KEY}")
    try:
        if locked:
            return bytes(pyrage.passphrase.decrypt(data, passphrase))
        return bytes(pyrage.decrypt(data, [_identity(key) for key in keys]))
    except pyrage.DecryptError as error:
        raise InputError(f"{source}: cannot be opened ({_why(error)})") from error


def recipients(given: Iterable[str]) -> list[str]:
    """Each of ``--recipient``: a public key as it is, or a file of them, one a line (``#`` begins a comment).

    Raises:
        UsageError: it is neither.
        InputError: a file that cannot be read, or holds none.
    """
    found: list[str] = []
    for word in given:
        alone = _looks_a_key(word) and not _there(word)
        listed = [word] if alone else _listed(word)
        for key in listed:
            _recipient(key, source="--recipient" if alone else word)
        found += listed
    return found


def keys(path: str | Path | None = None, *, passphrase: str | None = None) -> list[str]:
    """The secret keys of a file: ``age-keygen``'s, or an OpenSSH private key; by default that of ``$MFS_EDGE_KEY``.

    None at all where neither is given: most packs need no key.

    Args:
        path: of the file.
        passphrase: for a file that ``age --passphrase`` sealed.

    Raises:
        InputError: the file cannot be read, or holds no key that can be used.
    """
    if path is None and not os.environ.get(VARIABLE):
        return []
    path = config.expanded(os.environ[VARIABLE], VARIABLE) if path is None else Path(path)
    data = files.require_file(path, "key").read_bytes()
    if is_sealed(data):
        data = open_(data, (), passphrase=passphrase, source=path)
    content = text.decode(data, path, "key")
    found = [content] if content.lstrip().startswith(_PRIVATE) else list(_lines(content))
    if not found:
        raise InputError(f"{path}: holds no key; {_MAKE_ONE}")
    for key in found:
        _identity(key, source=path)
    return found


def _by_passphrase(data: bytes, source: str | Path) -> bool:
    """Whether an age file's header says that a passphrase opens it.

    Raises:
        InputError: trying one would take more memory than a file may ask for.
    """
    first = data[:128]
    if data.startswith(_ARMOUR):
        first = b""
        with contextlib.suppress(ValueError):  # damaged: the library says how
            first = base64.b64decode(b"".join(data[:256].split(b"\n")[1:3]), validate=False)
    found = _LOCK.match(first)
    work = int(found[1][:9]) if found else 0
    if work > _MOST_WORK:
        raise InputError(f"{source}: asks for 2^{work} KiB of memory to try a passphrase; seal it anew")
    return found is not None


def _looks_a_key(word: str) -> bool:
    return word.startswith(("age1", "ssh-", "ecdsa-")) or _SECRET in word.upper()


def _there(name: str) -> bool:
    with contextlib.suppress(OSError, ValueError):  # an RSA key is too long for a name, or someone's typing is none
        return bool(name) and Path(name).exists()
    return False


def _listed(name: str) -> list[str]:
    if not _there(name):
        raise UsageError(
            f"--recipient {_short(name)}: is neither a recipient (age1..., ssh-ed25519 ..., ssh-rsa ...) nor a file "
            f"of them; {_MAKE_ONE}"
        )
    path = Path(name)
    found = list(_lines(text.read(files.require_file(path, "list of recipients"), "list of recipients")))
    if not found:
        raise InputError(f"{path}: holds no recipient; write one a line: age1..., ssh-ed25519 ... or ssh-rsa ...")
    return found


def _lines(content: str) -> Iterable[str]:
    stripped = (line.strip() for line in content.splitlines())
    return (line for line in stripped if line and not line.startswith("#"))


def _recipient(key: str, *, source: str = "the recipient") -> Any:
    """pyrage's own form of a public key.

    Raises:
        UsageError: it is none. A secret given in its place is named as such, and not repeated.
    """
    if _SECRET in key.upper():
        raise UsageError(f"{source}: is a secret key; give its public half: age-keygen -y key.txt")
    pyrage = extras.require("pyrage", EXTRA)
    kind = pyrage.ssh if key.startswith(("ssh-", "ecdsa-")) else pyrage.x25519
    try:
        return kind.Recipient.from_str(key.strip())
    except pyrage.RecipientError as error:
        raise UsageError(
            f"{source}: {_short(key)} cannot be used ({reason_of(error)}); give age1..., ssh-ed25519 ... or "
            f"ssh-rsa ..., or {_MAKE_ONE}"
        ) from error


def _identity(key: str, *, source: str | Path = "the key") -> Any:
    """pyrage's own form of a secret key.

    Raises:
        InputError: it is none, or locked by a passphrase of its own.
    """
    pyrage = extras.require("pyrage", EXTRA)
    try:
        if key.lstrip().startswith(_PRIVATE):
            return pyrage.ssh.Identity.from_buffer(key.encode())
        return pyrage.x25519.Identity.from_str(key.strip())
    except pyrage.IdentityError as error:
        raise InputError(
            f"{source}: is no key that can be used ({reason_of(error)}); give {_SECRET}... of age-keygen, or an "
            "OpenSSH private key (ed25519 or RSA) without a passphrase: ssh-keygen -p"
        ) from error


def _short(word: str) -> str:
    return word if len(word) <= _SHOWN else f"{word[:_SHOWN]}..."


def _why(error: Exception) -> str:
    """pyrage's words; what they leave open is said, and the way out."""
    said = reason_of(error)
    if "No matching keys" in said:
        return f"it is sealed for other keys than those given, or its header is damaged; {_NO_KEY}"
    if "Decryption failed" in said:
        return "the passphrase is another"
    return f"{said}; it is damaged: copy or seal it again"
