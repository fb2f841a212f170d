"""Certificates that are made here: in the right form for C2PA, and with nobody behind them."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
_YEARS = 10  # without a time stamp a reader takes its own clock for the time of signing
_SLACK = datetime.timedelta(days=1)  # for clocks that are behind


def issued(
    name: str, key: Any, *, by: Any, issuer: Certificate | None = None, usages: Sequence[str] = ()
) -> Certificate:
    """A certificate in the form that C2PA wants.

    Args:
        name: of whom it is for.
        key: private; what it is for.
        by: the private key that signs it.
        issuer: the certificate of ``by``; None makes an authority's, signed by itself.
        usages: extended key usages, dotted.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(kind, name) for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)])
    begins = datetime.datetime.now(datetime.UTC) - _SLACK
    builder = x509.CertificateBuilder(issuer.subject if issuer else subject, subject, key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(begins).not_valid_after(begins + datetime.timedelta(days=365 * _YEARS))
    for extension, critical in _extensions(key, by, usages, authority=issuer is None):
        builder = builder.add_extension(extension, critical)
    return builder.sign(by, hashes.SHA256())


def _extensions(key: Any, by: Any, usages: Sequence[str], *, authority: bool) -> list[tuple[Any, bool]]:
    """What C2PA wants to see in a certificate, each with whether it is critical."""
    from cryptography import x509

    granted = "key_cert_sign" if authority else "digital_signature"
    common: list[tuple[Any, bool]] = [
        (x509.BasicConstraints(ca=authority, path_length=0 if authority else None), True),
        (x509.KeyUsage(**{use: use == granted for use in _USES}), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False),
    ]
    signs = x509.ExtendedKeyUsage([x509.ObjectIdentifier(usage) for usage in usages])
    return common if authority else [*common, (signs, False)]
