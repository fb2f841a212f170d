"""Identities: every form in, and a reason for each that is refused."""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfs_edge import sample
from mfs_edge.base import files, images
from mfs_edge.base.errors import IdentityError, InputError, MissingDependency
from mfs_edge.face.crop import arcface_input
from mfs_edge.load import identity
from mfs_edge.load.embed import Embedder
from mfs_edge.load.identity import Identity
from mfs_edge.sample import weights


@pytest.fixture(scope="module")
def arcface() -> Embedder:
    return Embedder(weights.checkpoint("arcface"))


@pytest.fixture(scope="module")
def who(arcface: Embedder) -> Identity:
    return arcface(arcface_input(sample.identity_picture(0), "identity 0"))


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array, allow_pickle=False)
    return path


def refusal(call: Callable[[], object], kind: type[InputError] = IdentityError) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == 2
    return str(caught.value)


def assert_same(found: Identity, expected: Identity, atol: float = 0) -> None:
    for name in ("embedding", "feature_map"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == np.float32
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=atol, rtol=0)


# --- forms -----------------------------------------------------------------------------------


def test_save_and_load(tmp_path: Path, who: Identity) -> None:
    path = tmp_path / "id.npy"
    identity.save(who, path)
    raw = np.load(path, allow_pickle=False)
    assert (raw.dtype, raw.shape) == (np.float32, (25600,))
    np.testing.assert_array_equal(raw, np.concatenate([who.embedding, who.feature_map.ravel()]))
    found = identity.load(path)
    assert_same(found, who)
    assert found.sha256 == who.sha256
    assert found.notes == ()


@pytest.mark.parametrize(("dtype", "atol"), [(np.float16, 0.02), (np.float64, 0), (">f4", 0)])
def test_other_float_types(tmp_path: Path, who: Identity, dtype: Any, atol: float) -> None:
    assert_same(identity.load(saved(tmp_path / "id.npy", who.flat.astype(dtype))), who, atol)


def test_a_leading_batch_of_one(tmp_path: Path, who: Identity) -> None:
    assert_same(identity.load(saved(tmp_path / "id.npy", who.flat[None])), who)


@pytest.mark.parametrize("compressed", [False, True])
def test_npz(tmp_path: Path, who: Identity, compressed: bool) -> None:
    path = tmp_path / "id.npz"
    save = np.savez_compressed if compressed else np.savez
    save(path, embedding=who.embedding[None], feature_map=who.feature_map[None], other=np.zeros(3))
    assert_same(identity.load(path), who)


def test_a_feature_map_alone_takes_its_embedding_from_arcface(tmp_path: Path, who: Identity, arcface: Embedder) -> None:
    path = saved(tmp_path / "map.npy", who.feature_map)
    assert_same(identity.load(path, arcface), who, atol=1e-6)
    assert "is a feature map alone; give --arcface" in refusal(lambda: identity.load(path))


def test_a_picture(who: Identity, arcface: Embedder) -> None:
    path = sample.FACES / "identity_0.png"
    assert_same(identity.load(path, arcface), who)
    assert "is a picture; give --arcface" in refusal(lambda: identity.load(path))


@pytest.mark.parametrize(
    ("name", "suffix"), [("x.jfif", ".jpg"), ("x.avif", ".avif"), ("x.gif", ".gif"), ("x", ".png"), ("x.PNG", ".png")]
)
def test_a_picture_of_any_name(tmp_path: Path, arcface: Embedder, name: str, suffix: str) -> None:
    picture = sample.identity_picture(0)
    (tmp_path / name).write_bytes(cv2.imencode(suffix, picture[..., ::-1])[1].tobytes())
    same = images.read_rgb(tmp_path / name)
    assert_same(identity.load(tmp_path / name, arcface), arcface(arcface_input(same, name)))
    assert "is a picture; give --arcface" in refusal(lambda: identity.load(tmp_path / name))


def test_a_picture_called_npy(tmp_path: Path, who: Identity, arcface: Embedder) -> None:
    (tmp_path / "id.npy").write_bytes((sample.FACES / "identity_0.png").read_bytes())
    assert_same(identity.load(tmp_path / "id.npy", arcface), who)


def test_an_embedding_is_normalised_and_said_so(tmp_path: Path, who: Identity) -> None:
    path = saved(tmp_path / "id.npy", np.concatenate([20 * who.embedding, who.feature_map.ravel()]))
    found = identity.load(path)
    assert_same(found, who, atol=1e-6)
    assert found.notes == ("id.npy: the embedding had length 20 and was L2-normalised",)


def test_the_hash_names_the_identity_without_its_notes(who: Identity) -> None:
    assert replace(who, notes=("x",)).sha256 == who.sha256
    assert Identity(-who.embedding, who.feature_map).sha256 != who.sha256


def test_embedding_and_feature_map_must_belong_together(tmp_path: Path, who: Identity, arcface: Embedder) -> None:
    path = saved(tmp_path / "id.npy", who.flat)
    assert_same(identity.load(path, arcface), who)
    mixed = saved(tmp_path / "mixed.npy", np.concatenate([who.embedding[::-1], who.feature_map.ravel()]))
    message = refusal(lambda: identity.load(mixed, arcface))
    assert "not that of its feature map under embedded demo weights" in message
    np.savez(tmp_path / "mixed.npz", embedding=who.embedding[::-1], feature_map=who.feature_map)
    assert "not that of its feature map" in refusal(lambda: identity.load(tmp_path / "mixed.npz", arcface))


# --- refusals --------------------------------------------------------------------------------


def with_value(index: int, value: float) -> np.ndarray:
    flat = np.ones(25600, np.float32)
    flat[index] = value
    return flat


BAD_ARRAYS = {
    "bare embedding": (np.ones(512, np.float32), "is an embedding alone, but the IIN also reads"),
    "bare embedding in a batch": (np.ones((1, 512), np.float32), "is an embedding alone"),
    "wrong length": (np.ones(25601, np.float32), "has shape [25601], expected [25600]"),
    "two identities": (np.ones((2, 25600), np.float32), "has shape [2, 25600]"),
    "transposed map": (np.ones((7, 7, 512), np.float32), "has shape [7, 7, 512]"),
    "a number": (np.float32(1), "has shape []"),
    "nothing": (np.empty(0, np.float32), "has shape [0]"),
    "NaN": (with_value(3, np.nan), "1 values that are NaN or infinite"),
    "infinite": (with_value(20000, np.inf), "1 values that are NaN or infinite"),
    "beyond float32": (np.full(25600, 1e300), "25600 values that are NaN or infinite"),
    "zero": (np.zeros(25600, np.float32), "the embedding is zero"),
    "absurd": (with_value(20000, 1e15), "the feature map reaches 1e+15, and ArcFace's about 10"),
    "integers": (np.ones(25600, np.int32), "dtype int32, expected float32"),
    "text": (np.full(25600, "x"), "expected float32"),
    "structured": (np.zeros(25600, [("a\n", "f4")]), "expected float32"),
}


@pytest.mark.parametrize("name", list(BAD_ARRAYS))
def test_bad_arrays(tmp_path: Path, name: str) -> None:
    array, reason = BAD_ARRAYS[name]
    path = saved(tmp_path / "id.npy", np.asarray(array))
    message = refusal(lambda: identity.load(path))
    assert message.startswith(f"{path}: ")
    assert reason in message


def test_bad_npz_members(tmp_path: Path) -> None:
    path = tmp_path / "id.npz"
    np.savez(path, embedding=np.ones(512, np.float32), map=np.ones(3))
    assert "holds embedding, map, expected arrays embedding and feature_map" in refusal(lambda: identity.load(path))
    np.savez(path, embedding=np.ones(511, np.float32), feature_map=np.ones((512, 7, 7), np.float32))
    assert "embedding has shape [511], expected [512]" in refusal(lambda: identity.load(path))
    np.savez(path, embedding=np.ones(512, np.float32), feature_map=np.full((512, 7, 7), np.nan))
    assert "feature_map has 25088 values that are NaN" in refusal(lambda: identity.load(path))
    np.savez(path)
    assert "holds nothing" in refusal(lambda: identity.load(path))


class Payload:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (open, (str(self.trace), "w"))


def test_pickles_do_not_run(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "id.npy"
    np.save(path, np.array([Payload(trace)], dtype=object), allow_pickle=True)
    assert "holds Python objects" in refusal(lambda: identity.load(path))
    path.write_bytes(pickle.dumps(Payload(trace)))
    assert "holds Python objects" in refusal(lambda: identity.load(path))
    buffer = io.BytesIO()
    np.save(buffer, np.array([Payload(trace)], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "id.npz", "w") as archive:
        for member in ("embedding.npy", "feature_map.npy"):
            archive.writestr(member, buffer.getvalue())
    assert "holds Python objects" in refusal(lambda: identity.load(tmp_path / "id.npz"))
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"0.1 0.2 0.3\n", b"\x93NUMPY", b"PK\x03\x04 half a zip"])
def test_other_files_called_npy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "id.npy"
    path.write_bytes(content)
    message = refusal(lambda: identity.load(path))
    assert "is damaged or of another format" in message
    assert "mfs-edge identity PHOTO --arcface CKPT -o id.npy" in message


def test_missing_and_empty_files(tmp_path: Path) -> None:
    assert "no such file" in refusal(lambda: identity.load(tmp_path / "id.npy"), InputError)
    (tmp_path / "empty.npy").touch()
    assert "is empty" in refusal(lambda: identity.load(tmp_path / "empty.npy"), InputError)
    assert "is a folder" in refusal(lambda: identity.load(tmp_path), InputError)


FLAT = io.BytesIO()
np.save(FLAT, np.ones(25600, np.float32))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damaged_files_never_end_in_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(FLAT.getvalue())
    for position in data.draw(st.lists(st.integers(0, 127), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.npy"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with contextlib.suppress(InputError):
        assert identity.load(path).flat.shape == (25600,)  # it was a byte of the padding, say


# --- layouts: judged by shape, never by size ---------------------------------------------------

LAYOUTS = {  # how a map is laid out -> the line that the refusal gives
    "channels last": (lambda m: m.transpose(1, 2, 0), "array.transpose(2, 0, 1)"),
    "channels last in a batch": (lambda m: m.transpose(1, 2, 0)[None], "array.squeeze().transpose(2, 0, 1)"),
    "channels between": (lambda m: m.transpose(1, 0, 2), "array.transpose(1, 0, 2)"),
    "pixels in a row": (lambda m: m.reshape(512, 49), "array.reshape(512, 7, 7)"),
    "a row per pixel": (lambda m: m.reshape(512, 49).T, "array.T.reshape(512, 7, 7)"),
    "flat": (lambda m: m.ravel(), "array.reshape(512, 7, 7)"),
    "flat, channels last": (lambda m: m.transpose(1, 2, 0).ravel(), "its order cannot be told"),
    "a batch of two": (lambda m: np.stack([m, m]), "it holds 2 identities, save one alone: array[0]"),
    "a batch of two, channels last": (lambda m: np.stack([m, m]).transpose(0, 2, 3, 1), "it holds 2 identities"),
    "another split": (lambda m: m.reshape(256, 14, 7), "[512, 7, 7]"),
    "rows of seven": (lambda m: m.reshape(512 * 7, 7), "[512, 7, 7]"),
}


@pytest.mark.parametrize("form", ["npz", "npy", "bare npz"])
@pytest.mark.parametrize("name", list(LAYOUTS))
def test_maps_in_another_layout_are_refused_with_the_way_out(
    tmp_path: Path, who: Identity, arcface: Embedder, name: str, form: str
) -> None:
    laid_out, advice = LAYOUTS[name]
    feature_map = laid_out(who.feature_map)
    path = tmp_path / f"id.{form[-3:]}"
    if form == "npz":
        np.savez(path, embedding=who.embedding, feature_map=feature_map)
    elif form == "bare npz":
        np.savez(path, feature_map)
    else:
        np.save(path, feature_map)
    message = refusal(lambda: identity.load(path, arcface))
    assert f"has shape {list(feature_map.shape)}" in message
    assert advice in message


@pytest.mark.parametrize("name", ["channels last", "channels last in a batch", "channels between", "a row per pixel"])
def test_the_advice_gives_the_right_map(who: Identity, name: str) -> None:
    laid_out, advice = LAYOUTS[name]
    found = eval(advice, {"array": laid_out(who.feature_map)})
    np.testing.assert_array_equal(found, who.feature_map)


@pytest.mark.parametrize("shape", [(1, 512, 7, 7), (1, 1, 512, 7, 7), (512, 7, 7, 1), (512, 1, 7, 7)])
def test_dimensions_of_one_do_no_harm(tmp_path: Path, who: Identity, arcface: Embedder, shape: tuple[int, ...]) -> None:
    feature_map = who.feature_map.reshape(shape)
    np.savez(tmp_path / "id.npz", embedding=who.embedding.reshape(1, 512, 1), feature_map=feature_map)
    assert_same(identity.load(tmp_path / "id.npz"), who)
    assert_same(identity.load(saved(tmp_path / "map.npy", feature_map), arcface), who, atol=1e-6)
    assert_same(identity.load(saved(tmp_path / "f.npy", np.asfortranarray(feature_map)), arcface), who, atol=1e-6)


@pytest.mark.parametrize("shape", [(160, 160), (512, 50), (50, 512), (100, 256), (2, 12800)])
def test_25600_values_in_another_shape_are_no_identity(tmp_path: Path, who: Identity, shape: tuple[int, ...]) -> None:
    for path in (tmp_path / "id.npy", tmp_path / "id.npz"):
        (np.save if path.suffix == ".npy" else np.savez)(path, who.flat.reshape(shape))
        assert f"has shape {list(shape)}, expected [25600]" in refusal(lambda path=path: identity.load(path))


def test_a_map_called_embedding(tmp_path: Path, who: Identity) -> None:
    path = tmp_path / "id.npz"
    np.savez(path, embedding=who.feature_map, feature_map=who.embedding)
    assert "embedding has shape [512, 7, 7], expected [512]" in refusal(lambda: identity.load(path))


def test_one_array_in_an_npz_is_read_as_from_an_npy(tmp_path: Path, who: Identity, arcface: Embedder) -> None:
    path = tmp_path / "id.npz"
    np.savez(path, who.flat)
    assert_same(identity.load(path), who)
    np.savez(path, feature_map=who.feature_map)
    assert_same(identity.load(path, arcface), who, atol=1e-6)
    np.savez(path, embedding=who.embedding)
    assert "is an embedding alone" in refusal(lambda: identity.load(path, arcface))


BOMBS = {  # little files that say, or unpack to, much
    "one member": {"embedding": np.zeros(30_000_000, np.float32), "feature_map": np.zeros((512, 7, 7), np.float32)},
    "as a batch": {"embedding": np.zeros((60_000, 512), np.float32), "feature_map": np.zeros((512, 7, 7))},
    "text": {"embedding": np.zeros(512, "U60000"), "feature_map": np.zeros((512, 7, 7))},
    "alone": {"arr_0": np.zeros((200, 512, 7, 7, 10), np.float32)},
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_what_an_npz_unpacks_to_is_judged_by_its_header(tmp_path: Path, name: str) -> None:
    path = tmp_path / "id.npz"
    np.savez_compressed(path, **BOMBS[name])
    tracemalloc.start()
    try:
        assert "expected" in refusal(lambda: identity.load(path))
        assert tracemalloc.get_traced_memory()[1] < 2e6  # bytes; the arrays take 100 MB and more
    finally:
        tracemalloc.stop()


# --- pictures --------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [32, 112, 113, 224, 300, 1000])
def test_square_crops_of_any_size(side: int) -> None:
    crop = images.resize(sample.identity_picture(0), side)
    found = arcface_input(crop, "crop")
    assert (found.shape, found.dtype) == ((112, 112, 3), np.float32)
    reference = arcface_input(sample.identity_picture(0), "crop")
    assert np.abs(found - reference).mean() < (3 if side >= 112 else 12)


def test_from_224_px_it_is_the_mean_of_two_by_two() -> None:
    picture = sample.identity_picture(0)
    expected = picture.reshape(112, 2, 112, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(arcface_input(picture, "crop"), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "reason"), [((224, 225), "is 225x224, but an aligned face crop is square"), ((1, 1), "only 1x1 pixels")]
)
def test_pictures_that_are_no_crops(tmp_path: Path, arcface: Embedder, shape: tuple[int, int], reason: str) -> None:
    path = tmp_path / "photo.png"
    images.write_rgb(path, np.zeros((*shape, 3), np.uint8))
    assert reason in refusal(lambda: identity.load(path, arcface))


def test_a_corrupt_picture(tmp_path: Path, arcface: Embedder) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes((sample.FACES / "identity_0.png").read_bytes()[:-500])
    assert "truncated or damaged PNG" in refusal(lambda: identity.load(path, arcface), InputError)


# --- surroundings ----------------------------------------------------------------------------


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch, arcface: Embedder) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match=r"^torch is needed"):
        Embedder(arcface.checkpoint).network  # noqa: B018
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependency, match=r"^cv2 is needed"):
        arcface_input(np.zeros((112, 112, 3), np.uint8), "crop")


def test_nothing_is_left_when_saving_fails(tmp_path: Path, who: Identity) -> None:
    with pytest.raises(files.OutputError, match="cannot be written"):
        identity.save(who, tmp_path / "missing" / "id.npy")
    assert list(tmp_path.iterdir()) == []
