"""Who signs: what can sign does, and what could not is refused before any work, in one line that says why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from mfs_edge.base.errors import InputError, UsageError
from mfs_edge.swap import certificate
from mfs_edge.swap.provenance import Signer
from tests.swap.people import EMAIL, Person, Wanted, issue, pem, person, private

KEYS = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_the_key_says_how_to_sign(tmp_path: Path, algorithm: str) -> None:
    who = person(tmp_path, key=KEYS[algorithm]())
    signer = Signer.of(who.cert, who.key)  # which signs a picture of one pixel, and has it verified
    assert (signer.credential.algorithm, signer.credential.name, signer.notes) == (
        algorithm,
        "A Studio, Pictures Ltd",
        [],
    )


@pytest.mark.parametrize("usage", certificate.USAGES)
def test_every_usage_that_c2pa_knows_may_sign(tmp_path: Path, usage: str) -> None:
    who = person(tmp_path, Wanted(usages=(x509.ObjectIdentifier(usage),)))
    Signer.of(who.cert, who.key)


def test_one_that_names_no_organisation_is_told_of(tmp_path: Path) -> None:
    who = person(tmp_path, Wanted(organisation=None))
    assert certificate.load(who.cert, who.key).notes == (f"{who.cert}: {certificate.NAMELESS}",)


def test_one_is_made_on_the_spot_and_said_to_be_untrusted() -> None:
    signer = Signer.of()
    assert signer.credential.self_made
    assert signer.notes == [certificate.UNTRUSTED]
    assert signer.credential.chain != Signer.of().credential.chain


def test_no_key_shows_where_a_credential_is_shown() -> None:
    credential = certificate.self_made()
    assert "BEGIN PRIVATE KEY" in credential.key
    assert "PRIVATE KEY" not in repr(credential)
    assert {each.name for each in dataclasses.fields(credential) if not each.repr} == {"key"}


def test_the_authority_s_own_certificate_may_be_left_out(tmp_path: Path) -> None:
    who = person(tmp_path)
    chain = x509.load_pem_x509_certificates(who.cert.read_bytes())
    who.cert.write_bytes(pem(chain[0]))
    Signer.of(who.cert, who.key)


def test_a_locked_key_opens_with_its_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    who = person(tmp_path, passphrase="correct horse")
    monkeypatch.delenv(certificate.PASSPHRASE, raising=False)
    with pytest.raises(
        InputError, match=r"key.pem: is locked with a passphrase; give it in \$MFS_EDGE_SIGN_PASSPHRASE"
    ):
        Signer.of(who.cert, who.key)
    monkeypatch.setenv(certificate.PASSPHRASE, "battery staple")
    with pytest.raises(InputError, match="does not open it") as refused:
        Signer.of(who.cert, who.key)
    assert "battery" not in str(refused.value)
    monkeypatch.setenv(certificate.PASSPHRASE, "correct horse")
    Signer.of(who.cert, who.key)


REFUSED = {
    "expired on": Wanted(days=(-30, -1)),
    "is not valid before": Wanted(days=(2, 30)),
    "extended key usage is neither": Wanted(usages=(ExtendedKeyUsageOID.SERVER_AUTH,)),
    "e-mail protection nor C2PA's": Wanted(usages=()),
    "extended key usage is time stamps": Wanted(usages=(ExtendedKeyUsageOID.TIME_STAMPING,)),
    "extended key usage is OCSP": Wanted(usages=(EMAIL, ExtendedKeyUsageOID.OCSP_SIGNING)),
    "extended key usage is any purpose": Wanted(usages=(EMAIL, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)),
    "key usage is not digital signature": Wanted(uses=("key_encipherment",)),
    "it is an authority's": Wanted(authority=True),
    "cannot sign pictures": Wanted(names_issuer=False),  # that only the library finds out
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_certificate_that_may_not_sign(tmp_path: Path, why: str) -> None:
    who = person(tmp_path, REFUSED[why])
    with pytest.raises(InputError) as refused:
        Signer.of(who.cert, who.key)
    line = str(refused.value)
    assert line.startswith(f"{who.cert}: ")
    assert why in line
    assert "; " in line
    assert "\n" not in line


def _other_key(who: Person) -> None:
    who.key.write_bytes(private(KEYS["es256"]()))


def _key_of_the_second(who: Person) -> None:
    leaf, root = x509.load_pem_x509_certificates(who.cert.read_bytes())
    who.cert.write_bytes(pem(root) + pem(leaf))


def _of_another_authority(who: Person) -> None:
    leaf, _ = x509.load_pem_x509_certificates(who.cert.read_bytes())
    key = KEYS["es256"]()
    other = issue(Wanted(name="Another", days=(-9, 9), usages=(), authority=True), key, None, key)
    who.cert.write_bytes(pem(leaf) + pem(other))


def _by_itself(who: Person) -> None:
    key = KEYS["es256"]()
    who.cert.write_bytes(pem(issue(Wanted(), key, None, key)))
    who.key.write_bytes(private(key))


def _bitcoin(who: Person) -> None:
    key = ec.generate_private_key(ec.SECP256K1())
    who.cert.write_bytes(pem(issue(Wanted(), key, None, key)))
    who.key.write_bytes(private(key))


def _short(who: Person) -> None:
    key = rsa.generate_private_key(65537, 1024)
    who.cert.write_bytes(pem(issue(Wanted(), key, None, key)))
    who.key.write_bytes(private(key))


SPOILT: dict[str, Callable[[Person], object]] = {
    "is the key of another certificate": _other_key,
    "belongs to a certificate that is not the first": _key_of_the_second,
    "A Studio, Pictures Ltd was not issued by Another": _of_another_authority,
    "signed by itself": _by_itself,
    "with which C2PA does not sign": _bitcoin,
    "of 1024 bits": _short,
    "cert.pem: holds no readable certificate": lambda who: who.cert.write_text("a certificate"),
    "key.pem: holds no private key": lambda who: who.key.write_text("a key"),
    "cert.pem: is empty": lambda who: who.cert.write_text(""),
    "key.pem: no such file": lambda who: who.key.unlink(),
    "key.pem: is too large": lambda who: who.key.write_bytes(bytes(certificate.LARGEST + 1)),
    "is the key of another certificate; ": lambda who: who.key.write_bytes(private(KEYS["ed25519"]())),
}


@pytest.mark.parametrize("why", SPOILT)
def test_files_that_are_not_what_they_should_be(tmp_path: Path, why: str) -> None:
    who = person(tmp_path)
    SPOILT[why](who)
    with pytest.raises(InputError) as refused:
        Signer.of(who.cert, who.key)
    assert why in str(refused.value)


def test_both_files_or_neither(tmp_path: Path) -> None:
    who = person(tmp_path)
    with pytest.raises(UsageError, match="--sign-cert is given without --sign-key"):
        Signer.of(who.cert, None)
    with pytest.raises(UsageError, match="--sign-key is given without --sign-cert"):
        Signer.of(None, who.key)
