"""Certificates and keys as authorities issue them, sound and otherwise; and pictures to sign."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mfs_edge.swap.made import Made

EMAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION
_USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
MADE = Made(
    artefact=Path("/home/somebody/private/idn-224-int8.onnx"),
    artefact_sha256="a" * 64,
    identity_sha256s=("b" * 64, "d" * 64),
    checkpoint_sha256="c" * 64,
    precision="int8",
    target="onnx",
    versions={"mfs-edge": "0.1", "onnxruntime": "1.2.3"},
    faces=2,
)


@dataclass(frozen=True)
class Wanted:
    """What a certificate is to be."""

    name: str = "A Studio"
    days: tuple[int, int] = (-1, 30)  # from now
    usages: Sequence[x509.ObjectIdentifier] = field(default=(EMAIL,))
    uses: Sequence[str] = ("digital_signature",)
    authority: bool = False
    names_issuer: bool = True  # by the extension that C2PA wants
    organisation: str | None = "Pictures Ltd"


def issue(wanted: Wanted, key: Any, issuer: x509.Certificate | None, by: Any) -> x509.Certificate:
    """A certificate, signed by itself where there is no issuer."""
    names = {NameOID.COMMON_NAME: wanted.name, NameOID.ORGANIZATION_NAME: wanted.organisation}
    subject = x509.Name([x509.NameAttribute(kind, name) for kind, name in names.items() if name])
    now = datetime.datetime.now(datetime.UTC)
    first, last = (now + datetime.timedelta(days=days) for days in wanted.days)
    builder = x509.CertificateBuilder(issuer.subject if issuer else subject, subject, key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(first).not_valid_after(last)
    builder = builder.add_extension(x509.BasicConstraints(wanted.authority, None), critical=True)
    uses = ("key_cert_sign",) if wanted.authority else wanted.uses
    builder = builder.add_extension(x509.KeyUsage(**{use: use in uses for use in _USES}), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if wanted.names_issuer:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key())
        builder = builder.add_extension(identifier, critical=False)
    if wanted.usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(wanted.usages), critical=False)
    return builder.sign(by, None if isinstance(by, ed25519.Ed25519PrivateKey) else hashes.SHA256())


@dataclass(frozen=True)
class Person:
    """Who signs: files as an authority hands them out."""

    cert: Path  # the signing certificate, and the authority's
    key: Path
    root: Path  # the authority's alone


def person(
    folder: Path,
    wanted: Wanted = Wanted(),
    *,
    key: Any = None,
    passphrase: str | None = None,
) -> Person:
    """A person with a certificate from an authority of their own."""
    by = ec.generate_private_key(ec.SECP256R1())
    root = issue(Wanted(name="An Authority", days=(-9, 99), usages=(), authority=True), by, None, by)
    key = key or ec.generate_private_key(ec.SECP256R1())
    leaf = issue(wanted, key, root, by)
    folder.mkdir(parents=True, exist_ok=True)
    there = Person(folder / "cert.pem", folder / "key.pem", folder / "root.pem")
    there.cert.write_bytes(pem(leaf) + pem(root))
    there.root.write_bytes(pem(root))
    there.key.write_bytes(private(key, passphrase))
    return there


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def private(key: Any, passphrase: str | None = None) -> bytes:
    """PKCS8."""
    lock = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


def picture(seed: int = 0, height: int = 47, width: int = 61) -> np.ndarray:
    """uint8 [H, W, 3]: no two alike."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (5, 5), 0)


def encoded(kind: str, pixels: np.ndarray | None = None) -> bytes:
    """A picture as OpenCV writes it."""
    done, data = cv2.imencode(f".{kind}", picture() if pixels is None else pixels)
    assert done
    return data.tobytes()


def video(path: Path, codec: str = "libx264", audio: str = "aac", **options: str) -> Path:
    """Ten frames, with a tone that is none."""
    kind = {".mkv": "matroska", ".webm": "webm", ".mov": "mov", ".mp4": "mp4", ".avi": "avi"}[path.suffix]
    with av.open(str(path), "w", format=kind, options=options) as container:
        shown = container.add_stream(codec, rate=25)
        shown.width, shown.height, shown.pix_fmt = 64, 48, "yuv420p"
        heard = container.add_stream(audio, rate=48_000)
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(picture(number, 48, 64), format="rgb24")
            container.mux(shown.encode(frame))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48_000
        container.mux(heard.encode(silence))
        container.mux(shown.encode(None))
        container.mux(heard.encode(None))
    return path


def packets(path: Path) -> list[tuple[Any, ...]]:
    """All that a player gets, by stream."""
    with av.open(str(path)) as container:
        found = [
            (packet.stream.index, packet.pts, packet.duration, packet.is_keyframe, bytes(packet))
            for packet in container.demux()
            if packet.size
        ]
    return sorted(found, key=lambda packet: packet[0])  # stable: in their order
