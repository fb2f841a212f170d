"""Checkpoints: every format and convention in, every problem out."""

from __future__ import annotations

import collections
import io
import json
import math
import pickle
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mfs_edge.base import errors
from mfs_edge.base.errors import CheckpointError, InputError, MissingDependency, OutputError
from mfs_edge.load import checkpoint, contents, formats
from mfs_edge.load.checkpoint import Checkpoint
from mfs_edge.sample import seeded

Arrays = Mapping[str, np.ndarray]
SAMPLE = Path(__file__).parents[1] / "golden" / "sample.pdparams"


@pytest.fixture(scope="session")
def paddle_state(golden: Arrays) -> dict[str, np.ndarray]:
    """The IIN of seed 7 as Paddle lays it out."""
    return seeded.network_state("iin", seed=7, statistics=golden)


@pytest.fixture(scope="session")
def torch_state(golden_iin: Checkpoint) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(np.ascontiguousarray(tensor)) for key, tensor in golden_iin.tensors.items()}


def flat_state(network: str) -> dict[str, np.ndarray]:
    """A valid state of zeros that takes no memory."""
    return {k: np.broadcast_to(np.float32(0), shape) for k, shape in seeded.paddle_shapes(network).items()}


def validate(state: Mapping[str, Any], expect: str | None = None) -> Checkpoint:
    return checkpoint.from_state(state, expect=expect, source="some.pdparams", sha256="0" * 64)


def assert_equal(found: Checkpoint, expected: Checkpoint) -> None:
    assert found.tensors.keys() == expected.tensors.keys()
    for key, tensor in expected.tensors.items():
        assert found.tensors[key].dtype == np.float32
        np.testing.assert_array_equal(found.tensors[key], tensor, err_msg=key)


def refusal(call: Callable[[], object], kind: type[errors.MfsEdgeError] = CheckpointError) -> str:
    """The message of the one-line error that ``call`` ends in."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert message.isprintable()
    assert caught.value.exit_code in (2, 3)
    return message


# --- formats and conventions -------------------------------------------------------------


def test_paddle_pickle(tmp_path: Path, paddle_state: Arrays, golden_iin: Checkpoint) -> None:
    path = tmp_path / "iin.pdparams"
    names = {key: f"parameter_{i}" for i, key in enumerate(paddle_state)}
    path.write_bytes(pickle.dumps({**paddle_state, "StructuredToParameterName@@": names}, protocol=4))
    found = checkpoint.load(path, expect="iin")
    assert_equal(found, golden_iin)
    assert (found.network, found.format, found.convention, found.dtype) == ("iin", "paddle pickle", "paddle", "float32")
    assert found.parameters == sum(tensor.size for tensor in paddle_state.values())
    assert found.source == "iin.pdparams"
    assert len(found.sha256) == 64


def test_square_linears_are_transposed_too(paddle_state: Arrays, golden_iin: Checkpoint) -> None:
    key = "DecoderModulation.0.style.weight"
    assert paddle_state[key].shape == (512, 512)
    np.testing.assert_array_equal(golden_iin.tensors[key], paddle_state[key].T)
    again = validate(dict(golden_iin.tensors))
    assert again.convention == "torch"
    np.testing.assert_array_equal(again.tensors[key], paddle_state[key].T)


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files(tmp_path: Path, torch_state: dict[str, Any], golden_iin: Checkpoint, legacy: bool) -> None:
    path = tmp_path / "iin.pth"
    wrapped = collections.OrderedDict({f"netG.module.{key}": value for key, value in torch_state.items()})
    wrapped["netG.module.final.2.num_batches_tracked"] = torch.tensor(3)
    saved = {"epoch": 3, "best": torch.tensor(0.5), "state_dict": wrapped, "optimizer": adam(torch_state)}
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    found = checkpoint.load(path, expect="iin")
    assert_equal(found, golden_iin)
    assert (found.format, found.convention, found.prefix) == ("torch", "torch", "netG.module.")


def adam(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    return {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}


@pytest.mark.parametrize("prefix", ["module.", "netG.module.", "generator.iin."])
def test_prefixes(prefix: str) -> None:
    assert validate({prefix + key: value for key, value in flat_state("iin").items()}).prefix == prefix


def test_safetensors_round_trip(tmp_path: Path, golden_iin: Checkpoint) -> None:
    path = tmp_path / "iin.safetensors"
    checkpoint.save_safetensors(golden_iin, path)
    found = checkpoint.load(path, expect="iin")
    assert_equal(found, golden_iin)
    assert (found.format, found.convention) == ("safetensors", "torch")
    assert [entry.name for entry in tmp_path.iterdir()] == ["iin.safetensors"]


def test_the_format_is_told_by_content(tmp_path: Path, golden_iin: Checkpoint) -> None:
    path = tmp_path / "iin.pdparams"  # in truth safetensors
    checkpoint.save_safetensors(golden_iin, path)
    assert checkpoint.load(path).format == "safetensors"


def half(checkpoint_: Checkpoint, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {k: torch.from_numpy(np.ascontiguousarray(v)).to(dtype) for k, v in checkpoint_.tensors.items()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", ["pth", "safetensors", "pdparams"])
def test_other_precisions(tmp_path: Path, demo_iin: Checkpoint, dtype: torch.dtype, suffix: str) -> None:
    from safetensors.torch import save_file

    state = half(demo_iin, dtype)  # the golden network's variances overflow half precision
    path = tmp_path / f"iin.{suffix}"
    if suffix == "pth":
        torch.save(state, path)
    elif suffix == "safetensors":
        save_file(state, path)
    else:  # Paddle's numpy() hands out bfloat16 as uint16
        bfloat16 = dtype == torch.bfloat16
        path.write_bytes(
            pickle.dumps({k: v.view(torch.uint16).numpy() if bfloat16 else v.numpy() for k, v in state.items()})
        )
    found = checkpoint.load(path)
    assert found.dtype == str(dtype).removeprefix("torch.")
    for key, tensor in state.items():
        np.testing.assert_array_equal(found.tensors[key], tensor.float().numpy(), err_msg=key)


def test_paddles_pairs_of_name_and_array() -> None:
    state = {key: (f"parameter_{key}", value) for key, value in flat_state("iin").items()}
    loaded = contents.tensor_dicts(state)[""]
    assert validate(loaded).network == "iin"


def test_arcface_is_recognised(golden_arcface: Checkpoint) -> None:
    assert golden_arcface.network == "arcface"
    assert golden_arcface.convention == "paddle"
    official = json.loads((SAMPLE.parent / "shapes.json").read_text())["arcface"]
    assert golden_arcface.parameters == sum(math.prod(shape) for shape in official.values())
    assert validate(dict(golden_arcface.tensors)).convention == "torch"


def test_numbers_and_texts_beside_the_tensors_do_no_harm() -> None:
    assert validate({**flat_state("iin"), "epoch": 3, "note": "text"}).network == "iin"


# --- refusals ------------------------------------------------------------------------------


def test_every_problem_is_in_the_one_line() -> None:
    state = flat_state("iin")
    del state["mask.5.bias"]
    state["extra.weight"] = np.zeros(3, np.float32)
    state["evil\n\x1b[2Jname"] = np.zeros(3, np.float32)
    state["final.1.weight"] = np.zeros((8, 32, 3, 3), np.float32)
    state["DecoderModulation.0.style.weight"] = np.zeros((512, 511), np.float32)
    state["final.1.bias"] = np.full(8, np.nan, np.float32)
    state["final.4.bias"] = np.array([1, np.inf, 2], np.float32)
    state["final.7.bias"] = np.zeros(3, np.int64)
    state["final.2._variance"] = np.full(8, -1, np.float32)
    state["mask.0.2.bias"] = "text"  # type: ignore[assignment]
    message = refusal(lambda: validate(state))
    assert message.startswith("some.pdparams: does not match the MobileFaceSwap (IIN) definition, 10 problems: ")
    for problem in (
        "missing mask.5.bias",
        "unexpected extra.weight",
        r"unexpected evil\n\x1b[2Jname",
        "final.1.weight has shape [8, 32, 3, 3], expected [8, 32, 1, 1]",
        "DecoderModulation.0.style.weight has shape [512, 511], expected [512, 512]",
        "final.1.bias has 8 of 8 values that are NaN or infinite",
        "final.4.bias has 1 of 3 values that are NaN or infinite",
        "final.7.bias has dtype int64, expected a floating type",
        "final.2.running_var has negative variances (lowest -1)",
        "mask.0.2.bias is a str, not a tensor",
    ):
        assert problem in message


def test_the_same_tensor_under_two_names_is_a_problem() -> None:
    state = {f"module.{key}": value for key, value in flat_state("iin").items()}
    state["mask.5.bias"] = np.ones(1, np.float32)
    assert "1 problem: unexpected mask.5.bias" in refusal(lambda: validate(state))
    state = flat_state("iin")
    state["final.2.running_mean"] = state["final.2._mean"]
    assert "1 problem: unexpected final.2.running_mean" in refusal(lambda: validate(state))


def test_the_fragment_paddle_wrote_lists_what_it_lacks() -> None:
    message = refusal(lambda: checkpoint.load(SAMPLE, expect="iin"))
    missing = contents.shapes("iin").keys() - {contents.canonical(key) for key in pickle.loads(SAMPLE.read_bytes())}
    assert f"{len(missing)} problems: " in message
    assert all(f"missing {key}" in message for key in missing)


@pytest.mark.parametrize(("network", "expect"), [("arcface", "iin"), ("iin", "arcface")])
def test_swapped_files(network: str, expect: str) -> None:
    message = refusal(lambda: validate(flat_state(network), expect))
    assert "swapped" in message
    assert f"give it as {checkpoint.OPTIONS[network]}" in message


def test_another_model() -> None:
    assert "another model (such as a.weight)" in refusal(lambda: validate({"a.weight": np.ones(3)}))


NOT_CHECKPOINTS = {
    "a web page": (b"\xef\xbb\xbf\n <!DOCTYPE html><html>login</html>", "is a web page"),
    "an error page": (b"<?xml version='1.0'?><Error/>", "is a web page"),
    "a git-lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "a text": (b"Not Found", "truncated or damaged"),
    "nothing": (b"", "is empty"),
    "a list": (pickle.dumps([np.ones(3)]), "holds a list, not a state dict"),
    "no tensors": (pickle.dumps({"epoch": 3}), "holds no tensors"),
    "a bare array": (pickle.dumps(np.ones(3)), "holds a ndarray"),
    "odd keys": (pickle.dumps({(1, 2): np.ones(3), None: np.ones(2)}), "another model"),
    "half a pickle": (pickle.dumps({"a": np.ones(300)})[:-500], "truncated"),
    "half a zip": (b"PK\x03\x04" + b"\0" * 90, "truncated"),
    "half a safetensors file": (b"\x40\0\0\0\0\0\0\0{", "not a readable safetensors file"),
    "a spanned zip": (  # zipfile.is_zipfile itself raises on this one
        b"PK\x03\x04" + b"\0" * 26 + b"PK\x06\x07" + b"\1" * 16 + b"PK\x05\x06" + b"\xff" * 16 + b"\0\0",
        "truncated or damaged",
    ),
    "a lying safetensors header": (b"\xff\xff\xff\xff\xff\0\0\0" + b'{"a":1}', "truncated"),
}


@pytest.mark.parametrize("name", list(NOT_CHECKPOINTS))
def test_what_downloads_leave_behind(tmp_path: Path, name: str) -> None:
    content, reason = NOT_CHECKPOINTS[name]
    path = tmp_path / "iin.pdparams"
    path.write_bytes(content)
    message = refusal(lambda: checkpoint.load(path), InputError)
    assert message.startswith(f"{path}: ")
    assert reason in message


def test_an_unknown_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"some bytes of nobody's format")
    assert "is not a .pdparams, .pth, .pt or .safetensors file" in refusal(lambda: checkpoint.load(path))


def test_a_zip_of_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("checkpoints/arcface.pdparams", b"...")
    assert "unpack it" in refusal(lambda: checkpoint.load(path))


def test_several_networks_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "both.pth"
    state = {key: torch.zeros(1) for key in contents.shapes("iin")}
    torch.save({"netG": state, "ema": {k: torch.ones(1) for k in state}}, path)
    assert "several state dicts (ema, netG)" in refusal(lambda: checkpoint.load(path))


class Payload:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (eval, (f"open({str(self.trace)!r}, 'w')",))


@pytest.mark.parametrize("legacy", [False, True])
def test_malicious_torch_files(tmp_path: Path, legacy: bool) -> None:
    trace, path = tmp_path / "trace", tmp_path / "iin.pth"
    saved = {"state_dict": {"a": torch.ones(2), "b": Payload(trace)}}
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    message = refusal(lambda: checkpoint.load(path))
    assert "refused" in message
    assert not trace.exists()


def test_whole_modules_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    assert "state_dict" in refusal(lambda: checkpoint.load(path))


def torch_bytes(legacy: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save({"a.weight": torch.arange(6.0).reshape(2, 3)}, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def safetensors_bytes() -> bytes:
    header = json.dumps({"a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    return len(header).to_bytes(8, "little") + header + np.arange(6, dtype=np.float32).tobytes()


FUZZED = {"zip": torch_bytes(False), "legacy": torch_bytes(True), "safetensors": safetensors_bytes()}


@pytest.mark.parametrize("name", list(FUZZED))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_bytes_only_ever_give_a_checkpoint_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    content = bytearray(FUZZED[name])
    for position in data.draw(st.lists(st.integers(4, len(content) - 1), max_size=6)):
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    refusal(lambda: checkpoint.load(path))


# --- costs and dependencies ----------------------------------------------------------------


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)


def test_public_sizes_are_read_within_memory_and_without_torch(
    tmp_path: Path, golden: Arrays, golden_arcface: Checkpoint, paddle_state: Arrays
) -> None:
    arcface, iin = tmp_path / "arcface.pdparams", tmp_path / "iin.pdparams"
    shapes = seeded.paddle_shapes("arcface")
    tensors = dict(zip(shapes, golden_arcface.tensors.values(), strict=True))
    with arcface.open("wb") as file:
        pickle.dump({key: t.T if t.ndim == 2 else t for key, t in tensors.items()}, file, protocol=4)
    with iin.open("wb") as file:
        pickle.dump(paddle_state, file, protocol=4)
    assert arcface.stat().st_size + iin.stat().st_size > 285e6
    code = (
        "import pathlib, re, sys; from mfs_edge.load import checkpoint\n"
        "held = [checkpoint.load(path) for path in sys.argv[1:]]\n"
        "print([found.network for found in held], [m for m in ('torch', 'onnx', 'cv2') if m in sys.modules])\n"
        # VmHWM and not ru_maxrss, which a child inherits from the process that forked it
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1]) * 1024)"
    )
    facts, peak = run(code, str(arcface), str(iin)).stdout.splitlines()
    assert facts == "['arcface', 'iin'] []"
    assert int(peak) < 1.5e9


@pytest.mark.parametrize("name", ["zip", "legacy"])
def test_torchs_files_are_read_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = tmp_path / "some.file"
    path.write_bytes(FUZZED[name])
    monkeypatch.setitem(sys.modules, "torch", None)
    _, loaded = formats.read(path)
    np.testing.assert_array_equal(loaded["a.weight"], np.arange(6, dtype=np.float32).reshape(2, 3))


def test_missing_libraries_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "some.file"
    path.write_bytes(FUZZED["safetensors"])
    monkeypatch.setitem(sys.modules, "safetensors", None)
    message = refusal(lambda: checkpoint.load(path), MissingDependency)
    assert message.startswith("safetensors is needed")
    assert "mfs-edge[compile]" in message


def test_a_full_disk_leaves_nothing(tmp_path: Path, golden_iin: Checkpoint) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            checkpoint.save_safetensors(golden_iin, tmp_path / "iin.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
