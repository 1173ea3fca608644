"""The header reader against the safetensors library, and against files that lie."""

from __future__ import annotations

import json
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from loraeval.checkpoints.header import (
    MAX_HEADER_BYTES,
    data_sha256,
    file_sha256,
    read_header,
    read_scalars,
    read_tensor,
)
from loraeval.errors import CheckpointError
from loraeval.testing.kohya_files import write_safetensors

SHARED_FOLDER = [HealthCheck.function_scoped_fixture]


def write_raw(path: Path, head: bytes, data: bytes = b"", length: int | None = None) -> Path:
    path.write_bytes(struct.pack("<Q", len(head) if length is None else length) + head + data)
    return path


def one_line(error: Exception) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 600


def one_tensor(**changes: Any) -> bytes:
    row = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}
    return json.dumps({"a": row}).encode()


def test_reads_what_the_library_wrote(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    tensors = {
        "half": rng.standard_normal((3, 4)).astype(np.float16),
        "single": rng.standard_normal((2, 1, 1)).astype(np.float32),
        "whole": np.array(16, np.int64),
        "none": np.zeros((0, 3), np.float32),
    }
    save_file(tensors, tmp_path / "a.safetensors", {"ss_epoch": "7"})
    header = read_header(tmp_path / "a.safetensors")
    assert dict(header.metadata) == {"ss_epoch": "7"}
    assert set(header.tensors) == set(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(read_tensor(header, name), array)
    assert read_scalars(header, ["whole"]) == {"whole": 16.0}


def test_bfloat16_is_the_upper_half_of_float32(tmp_path: Path) -> None:
    values = np.array([1.0, -2.5, 3.140625, 1e30], np.float32)
    path = write_safetensors(
        tmp_path / "b.safetensors", {"a": values, "s": values[:1]}, None, "BF16"
    )
    np.testing.assert_allclose(read_tensor(read_header(path), "a"), values, rtol=2**-8)
    assert read_scalars(read_header(path), ["s"]) == {"s": 1.0}


def test_our_writer_is_read_by_the_library(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = write_safetensors(tmp_path / "w.safetensors", {"x": array, "n": np.array(3)}, {"k": "v"})
    read = load_file(path)
    np.testing.assert_array_equal(read["x"], array)
    assert int(read["n"]) == 3


def test_hashes(tmp_path: Path) -> None:
    import hashlib

    path = write_raw(tmp_path / "h.safetensors", one_tensor(), b"12345678")
    assert data_sha256(read_header(path)) == hashlib.sha256(b"12345678").hexdigest()
    assert file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


OVERLAP = json.dumps(
    {
        "a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]},
        "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]},
    }
).encode()

LIES = {
    "truncated data": (one_tensor(), b"1234", "truncated"),
    "surplus data": (one_tensor(), b"123456789", "belong to no tensor"),
    "offset past the end": (one_tensor(data_offsets=[8, 16]), b"12345678", "hole"),
    "negative offset": (one_tensor(data_offsets=[-8, 0]), b"", "two positions"),
    "size not of the shape": (one_tensor(shape=[3]), b"12345678", "do not fit"),
    "huge shape": (one_tensor(shape=[1 << 61, 1 << 61]), b"12345678", "do not fit"),
    "negative shape": (one_tensor(shape=[-2]), b"12345678", "shape"),
    "shape of text": (one_tensor(shape=["2"]), b"12345678", "shape"),
    "float offset": (one_tensor(data_offsets=[0, 8.0]), b"12345678", "two positions"),
    "unknown dtype": (one_tensor(dtype="F13"), b"12345678", "unknown dtype"),
    "dtype no text": (one_tensor(dtype=["F32"]), b"12345678", "unknown dtype"),
    "no object": (b'{"a": 3}', b"", "lacks"),
    "twice the same name": (b'{"a":{}, "a":{}}', b"", "twice"),
    "twice in metadata": (b'{"__metadata__":{"k":"1","k":"2"}}', b"", "twice"),
    "metadata of numbers": (b'{"__metadata__":{"k":1}}', b"", "strings"),
    "metadata a list": (b'{"__metadata__":[]}', b"", "strings"),
    "not UTF-8": (b'{"\xff\xfe":{}}', b"", "UTF-8"),
    "NaN": (b'{"a": NaN}', b"", "NaN"),
    "infinite": (b'{"a": -Infinity}', b"", "Infinity"),
    "deep": (b'{"a":' + b"[" * 200_000 + b"}", b"", "JSON"),
    "many lists": (b'{"a":' + b"[],[" * 600_000 + b"}", b"", "lists"),
    "a long number": (b'{"a": ' + b"9" * 10_000 + b"}", b"", "JSON"),
    "broken": (b'{"a": ', b"", "JSON"),
    "no header": (b"[]      ", b"", "start"),
    "overlap": (OVERLAP, b"123", "overlaps"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lying_header_is_refused_with_one_sentence(tmp_path: Path, name: str) -> None:
    head, data, word = LIES[name]
    with pytest.raises(CheckpointError, match=word) as caught:
        read_header(write_raw(tmp_path / "x.safetensors", head, data))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_file_of_a_few_bytes(tmp_path: Path, size: int) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"\0" * size)
    with pytest.raises(CheckpointError, match="at least 8"):
        read_header(tmp_path / "x.safetensors")


def test_strangers_are_named(tmp_path: Path) -> None:
    for content, word in [
        (b"PK\x03\x04rest-of-the-zip", "pickled"),
        (b"\x80\x02}q\x00.", "pickled"),
        (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
        (b"<!DOCTYPE html><html>", "web page"),
    ]:
        (tmp_path / "x.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError, match=word):
            read_header(tmp_path / "x.safetensors")


def test_missing_folder_and_fifo(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for path, word in [(tmp_path / "no", "cannot read"), (tmp_path, "folder"),
                       (tmp_path / "pipe", "regular")]:  # fmt: skip
        with pytest.raises(CheckpointError, match=word):
            read_header(path)


def test_a_100_mb_header_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 100_000_000) + b"{")
        file.truncate(8 + 100_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(CheckpointError, match="a LoRA needs less"):
        read_header(path)
    assert time.process_time() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_names_are_escaped_in_messages(tmp_path: Path) -> None:
    head = json.dumps({"\x1b[31mred\u202e": {"dtype": "F13", "shape": [], "data_offsets": [0, 0]}})
    with pytest.raises(CheckpointError) as caught:
        read_header(write_raw(tmp_path / "x.safetensors", head.encode()))
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.one_of(
    st.binary(max_size=300),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(
            ["a", "__metadata__", "dtype", "shape", "data_offsets"]), inner, max_size=5),
        max_leaves=20,
    ).map(lambda tree: json.dumps(tree).encode()),
), st.binary(max_size=16))  # fmt: skip
def test_fuzz_no_input_escapes_the_error(tmp_path: Path, head: bytes, data: bytes) -> None:
    path = write_raw(tmp_path / "f.safetensors", head, data)
    try:
        header = read_header(path)
    except CheckpointError as error:
        one_line(error)
    else:
        assert header.header_bytes <= 8 + MAX_HEADER_BYTES


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 100))
def test_fuzz_flipped_bytes_of_a_real_file(
    tmp_path: Path, position: int, value: int, cut: int
) -> None:
    from loraeval.checkpoints.anatomy import read_anatomy
    from loraeval.checkpoints.layout import ModuleShape
    from loraeval.testing.kohya_files import write_lora

    good = tmp_path / "good.safetensors"
    if not good.exists():
        write_lora(
            good, rank=1, modules={"lora_unet_mid_block_attentions_0_proj_in": ModuleShape(8, 8, 1)}
        )
    blob = bytearray(good.read_bytes())
    blob[position % len(blob)] = value
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(blob[: len(blob) - cut])
    try:
        read_anatomy(bad)
    except CheckpointError as error:
        one_line(error)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numbers", "names", "lists"])
def test_the_worst_header_that_is_read_stays_within_500_mb_and_5_s(
    tmp_path: Path, kind: str
) -> None:
    """Measured in a fresh process: CPU seconds and peak memory."""
    space = MAX_HEADER_BYTES - 100
    head = {
        "numbers": b'{"a":[' + b"1e5," * (space // 4) + b"1]}",
        "names": b"{" + b",".join(b'"%x":0' % i for i in range(490_000)) + b"}",
        "lists": b'{"a":[' + b"[]," * 490_000 + b"[]]}",
    }[kind]
    path = write_raw(tmp_path / "worst.safetensors", head)
    code = (
        "import sys, time\n"
        "from loraeval.checkpoints.header import read_header\n"
        "from loraeval.errors import CheckpointError\n"
        "try:\n    read_header(sys.argv[1])\nexcept CheckpointError:\n    pass\n"
        "peak = open('/proc/self/status').read().split('VmHWM:')[1].split()[0]\n"
        "print(time.process_time(), peak)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    seconds, kilobytes = done.stdout.split()
    assert float(seconds) < 5
    assert int(kilobytes) < 500_000
