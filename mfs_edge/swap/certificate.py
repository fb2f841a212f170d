"""Whose name stands under a swapped picture: a certificate and its key, from files or made on the spot.

Everything that would make a signature worthless is told before any work is done, in one line. A certificate that is
made here has the right form, and nobody vouches for it: readers show what it signed as valid and untrusted.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfs_edge.base import extras, files
from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.base.reasons import reason_of
from mfs_edge.swap.issuing import issued

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, Name

EXTRA = "swap"
PASSPHRASE = "MFS_EDGE_SIGN_PASSPHRASE"
SELF_MADE = "mfs-edge (self-made certificate)"
UNTRUSTED = (
    "what was made is signed with a certificate made on the spot, which nobody vouches for: readers show it as "
    "untrusted; give --sign-cert and --sign-key"
)
NAMELESS = "its subject names no organisation (O), without which c2pa before 0.38 reads nothing that it signed"
LARGEST = 1 << 20  # bytes of a PEM file
# Extended key usages that C2PA knows for signing: e-mail protection, document signing, C2PA's own, Microsoft's.
USAGES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1", "1.3.6.1.4.1.311.76.59.1.9")
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_ALONE = {"1.3.6.1.5.5.7.3.8": "time stamps", "1.3.6.1.5.5.7.3.9": "OCSP", "2.5.29.37.0": "any purpose"}
_GET = "get one for signing from a C2PA certificate authority, or leave both options out"


@dataclass(frozen=True)
class Credential:
    """A certificate that signs.

    Attributes:
        algorithm: C2PA's name of it: "es256", "es384", "es512", "ps256" or "ed25519".
        chain: PEM, the signing certificate first.
        key: PEM, PKCS8, not locked; never in a log.
        name: of the signer, for people.
        self_made: nobody vouches for it.
        notes: what the user is to be told of it.
    """

    algorithm: str
    chain: str
    key: str = field(repr=False)
    name: str
    self_made: bool = False
    notes: tuple[str, ...] = ()


def load(cert: Path, key: Path) -> Credential:
    """The credential in a PEM chain and a PKCS8 key; the passphrase of a locked key is ``$MFS_EDGE_SIGN_PASSPHRASE``.

    Args:
        cert: PEM; the signing certificate first, then who issued it, one after the other.
        key: PEM of the private key; elliptic curves P-256, P-384, P-521, Ed25519, or RSA of 2048 bits and more.

    Raises:
        InputError: a file is no such thing, the two do not belong together, a certificate is expired, or it may not
            sign; the key is locked and no passphrase, or another one, was given.
    """
    chain = _chain(cert)
    _keyed(chain, cert)
    private = _private(key)
    if _public(private.public_key()) != _public(chain[0].public_key()):
        raise InputError(f"{key}: {_stranger(private, chain)}; give the key that {cert} was issued for")
    algorithm = _algorithm(private, key)
    _in_time(chain, cert)
    _in_order(chain, cert)
    _may_sign(chain[0], cert)
    notes = () if _organised(chain[0]) else (f"{cert}: {NAMELESS}",)
    return Credential(algorithm, _pem(chain), _pkcs8(private), said(chain[0].subject), notes=notes)


def self_made() -> Credential:
    """A certificate from an authority of one signature, whose keys are forgotten when the process ends."""
    extras.require("cryptography", EXTRA)
    from cryptography.hazmat.primitives.asymmetric import ec

    authority, signer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = issued(f"{SELF_MADE}, authority", authority, by=authority)
    leaf = issued(SELF_MADE, signer, by=authority, issuer=root, usages=USAGES[:2])
    return Credential("es256", _pem([leaf, root]), _pkcs8(signer), SELF_MADE, self_made=True, notes=(UNTRUSTED,))


def anchors(path: Path) -> str:
    """The authorities whom a person trusts, as PEM; signers' own certificates beside them are passed over.

    Raises:
        InputError: the file holds no certificate of an authority.
    """
    authorities = [each for each in _chain(path) if _is_authority(each)]
    if not authorities:
        raise InputError(
            f"{path}: holds a signer's certificate, and no authority's; give that of the authority that issued it"
        )
    return _pem(authorities)


def said(name: Name) -> str:
    """Who a certificate is for: its common name, and the organisation where that is another."""
    from cryptography.x509.oid import NameOID

    kinds = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    found = [str(each.value) for kind in kinds for each in name.get_attributes_for_oid(kind)]
    return ", ".join(dict.fromkeys(found)) or name.rfc4514_string()


def _read(path: Path, what: str) -> bytes:
    path = files.require_file(path, what)
    if path.stat().st_size > LARGEST:
        raise InputError(f"{path}: is too large for a {what} ({path.stat().st_size:,} bytes); give a PEM file")
    return path.read_bytes()


def _chain(path: Path) -> list[Certificate]:
    data = _read(path, "certificate")
    x509 = extras.require("cryptography.x509", EXTRA)
    try:
        found: list[Certificate] = x509.load_pem_x509_certificates(data)
        for each in found:
            each.extensions, each.subject, each.issuer  # noqa: B018  # read when asked for, and may be damaged
    except (ValueError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType) as error:
        raise InputError(f"{path}: holds no readable certificate ({reason_of(error)}); give a PEM chain") from error
    return found


def _keyed(chain: list[Certificate], path: Path) -> None:
    """Raises InputError where a certificate's key is damaged, or of a kind that is not known."""
    from cryptography.exceptions import UnsupportedAlgorithm

    for each in chain:
        try:
            _public(each.public_key())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise InputError(f"{path}: holds a key that cannot be read ({reason_of(error)}); give another") from error


def _private(path: Path) -> Any:
    data = _read(path, "private key")
    serialization = extras.require("cryptography.hazmat.primitives.serialization", EXTRA)
    exceptions = extras.require("cryptography.exceptions", EXTRA)
    phrase = os.environ.get(PASSPHRASE)
    locked = b"ENCRYPTED" in data
    if locked and not phrase:
        raise InputError(f"{path}: is locked with a passphrase; give it in ${PASSPHRASE}")
    try:
        return serialization.load_pem_private_key(data, phrase.encode() if locked and phrase else None)
    except (ValueError, TypeError, exceptions.UnsupportedAlgorithm) as error:
        if locked:
            raise InputError(f"{path}: ${PASSPHRASE} does not open it, or it is damaged; give another one") from error
        raise InputError(f"{path}: holds no private key that can be read; give PEM, as openssl pkcs8 writes") from error


def _public(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _stranger(private: Any, chain: list[Certificate]) -> str:
    ours = _public(private.public_key())
    if any(_public(each.public_key()) == ours for each in chain[1:]):
        return "belongs to a certificate that is not the first one of its file"
    return "is the key of another certificate"


def _algorithm(key: Any, path: Path) -> str:
    """The name of what a private key signs by.

    Raises:
        InputError: C2PA has no name for it.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    size = f" of {key.key_size} bits" if hasattr(key, "key_size") else ""
    raise InputError(
        f"{path}: is a {type(key).__name__.removesuffix('PrivateKey').lstrip('_')} key{size}, with which C2PA does not "
        "sign; give one of P-256, P-384, P-521, Ed25519, or RSA of at least 2048 bits"
    )


def _pkcs8(key: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def _in_time(chain: list[Certificate], path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    for each in chain:
        name = said(each.subject)
        if now > each.not_valid_after_utc:
            raise InputError(
                f"{path}: the certificate of {name} expired on {each.not_valid_after_utc:%d %B %Y}; {_GET}"
            )
        if now < each.not_valid_before_utc:
            first = f"{each.not_valid_before_utc:%d %B %Y}"
            raise InputError(f"{path}: the certificate of {name} is not valid before {first}; set the clock, or wait")


def _in_order(chain: list[Certificate], path: Path) -> None:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    for each, issuer in pairwise(chain):
        try:
            each.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
            told = f"{said(each.subject)} was not issued by {said(issuer.subject)}, which follows it"
            raise InputError(
                f"{path}: {told}; put the signing certificate first, then its issuer, and so on"
            ) from error


def _may_sign(leaf: Certificate, path: Path) -> None:
    """Raises InputError where readers of C2PA would refuse what this certificate signed."""
    from cryptography import x509

    def held(kind: Any) -> Any:
        try:
            return leaf.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    usages = [usage.dotted_string for usage in held(x509.ExtendedKeyUsage) or ()]
    purpose = held(x509.KeyUsage)
    named = next((_ALONE[usage] for usage in usages if usage in _ALONE), None)
    problems = {
        "it is an authority's, not a signer's": _is_authority(leaf),
        "it is signed by itself, which C2PA does not admit": leaf.issuer == leaf.subject,
        "its key usage is not digital signature": purpose is None or not purpose.digital_signature,
        f"its extended key usage is {named}": named is not None,
        "its extended key usage is neither document signing, e-mail protection nor C2PA's": not {*USAGES} & {*usages},
    }
    for problem, there in problems.items():
        if there:
            raise InputError(f"{path}: may not sign pictures ({problem}); {_GET}")


def _organised(certificate: Certificate) -> bool:
    from cryptography.x509.oid import NameOID

    return bool(certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))


def _is_authority(certificate: Certificate) -> bool:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _pem(chain: list[Certificate]) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return "".join(each.public_bytes(Encoding.PEM).decode() for each in chain)


def given(cert: Path | None, key: Path | None) -> Credential:
    """What ``--sign-cert`` and ``--sign-key`` name, or one that is made on the spot where neither is given.

    Raises:
        UsageError: one is given without the other.
        InputError: as of :func:`load`.
    """
    if (cert is None) != (key is None):
        there, lacks = ("--sign-cert", "--sign-key") if key is None else ("--sign-key", "--sign-cert")
        raise UsageError(f"{there} is given without {lacks}; give both, or neither")
    return load(cert, key) if cert is not None and key is not None else self_made()
