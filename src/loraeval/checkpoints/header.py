"""Read safetensors files without torch: a bounded, distrustful header and tensors one by one.

The file is 8 bytes (header length, little endian), the header (JSON: tensor name to dtype, shape
and data offsets, and ``__metadata__`` with strings), then the data. Everything in it comes from
strangers: the length is bounded before anything is parsed, names may not repeat, offsets must tile
the data exactly, and the size of each tensor must follow from its shape. Metadata is data: strings
to show escaped, never to evaluate and never a path.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from loraeval.checkpoints.dtypes import ITEM_BYTES, NUMPY, STRUCT
from loraeval.checkpoints.strangers import stranger
from loraeval.errors import CheckpointError
from loraeval.outside import json as strict_json
from loraeval.outside.text import clean, read_text

if TYPE_CHECKING:
    import numpy as np

MAX_HEADER_BYTES = 16 << 20
"""A longer header is refused unread. The format allows 100 MB; the header of an SDXL LoRA is 0.4 MB
and tag frequencies of a large data set add some, while 100 MB of JSON would take gigabytes."""

MAX_STRINGS = 500_000
"""A header with more quoted strings is refused before parsing (an SDXL LoRA has 18,000)."""

MAX_CONFIG_BYTES = 1 << 20
"""A longer ``adapter_config.json`` is refused unread."""

CHUNK_BYTES = 1 << 20
"""Whole-file reads go through a buffer of this size."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: ``dtype`` as safetensors names it, ``shape``, and its bytes ``start`` to ``end``
    counted from the start of the data.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def items(self) -> int:
        """Number of items."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    """A checked header. ``header_bytes`` counts the 8 length bytes and the JSON, so the data starts
    there; ``tensors`` in the order of their data; ``metadata`` holds strings as written, and under
    ``adapter_config`` what PEFT wrote beside the file.
    """

    path: Path
    file_bytes: int
    header_bytes: int
    metadata: Mapping[str, str]
    tensors: Mapping[str, TensorInfo]

    @property
    def data_bytes(self) -> int:
        """Bytes of tensor data after the header."""
        return self.file_bytes - self.header_bytes


def read_header(path: str | Path) -> Header:
    """Read and check the header of a safetensors file.

    Raises ``CheckpointError`` with one sentence for anything else: missing, empty, truncated, a
    pickle, a header too large, not UTF-8, not JSON, with repeated names or NaN, with unknown
    dtypes, or with offsets that overlap, leave holes or leave the file.
    """
    path = Path(path)
    with _open(path) as file:
        return _header(path, file, adapter_config(path))


def read_whole(path: str | Path) -> tuple[Header, bytes, str]:
    """Return header, bytes and SHA-256 of a file, all of one reading: what the hash names is what
    the bytes hold, whatever is written to the file meanwhile. Errors as ``read_header``.
    """
    path = Path(path)
    with _open(path) as file:
        _header(path, file, None)  # before a file that is no checkpoint is read whole
        file.seek(0)
        data = file.read()
    config = adapter_config(path)
    sha256 = with_config(hashlib.sha256(data).hexdigest(), config)
    return _header(path, io.BytesIO(data), config), data, sha256


def adapter_config(path: Path) -> str | None:
    """Return the text of the ``adapter_config.json`` that PEFT writes beside its
    ``adapter_model.safetensors`` and that holds its alphas, None beside other files and where there
    is none. Raises ``CheckpointError`` for one that is too large or no UTF-8.
    """
    beside = path.with_name("adapter_config.json")
    if path.name != "adapter_model.safetensors" or not beside.is_file():
        return None
    return read_text(beside, CheckpointError, MAX_CONFIG_BYTES)


def with_config(sha256: str, config: str | None) -> str:
    """Return what stands for a checkpoint: the SHA-256 of its file, together with that of the
    ``adapter_config`` beside it where there is one, since that changes what the file does.
    """
    if config is None:
        return sha256
    return hashlib.sha256(f"{sha256} {config}".encode()).hexdigest()


def _header(path: Path, file: BinaryIO, config: str | None) -> Header:
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(32)
    length = int.from_bytes(head[:8], "little")
    _check_start(path, head, size, length)
    file.seek(8)
    raw = file.read(length)
    if len(raw) != length:
        _refuse(path, f"truncated: the header needs {length} bytes, {len(raw)} are there")
    tree = _parse(path, raw)
    metadata = _metadata(path, tree.pop("__metadata__", {}))
    if config is not None:
        metadata = {**metadata, "adapter_config": config}
    infos = sorted((_tensor(path, name, row) for name, row in tree.items()), key=_by_start)
    _check_tiling(path, infos, size - 8 - length)
    return Header(path, size, 8 + length, metadata, {info.name: info for info in infos})


def read_tensor(header: Header, name: str) -> np.ndarray:
    """Return one tensor in its own shape; F16, BF16 and F32 as float32, others in their own type.

    Reads just that tensor's bytes. Raises ``CheckpointError`` where the dtype has no numpy
    counterpart or the file changed since the header was read.
    """
    import numpy as np

    info = header.tensors[name]
    if info.dtype not in NUMPY:
        _refuse(header.path, f"tensor {clean(name)} has dtype {info.dtype}, which is not read here")
    with _open(header.path) as file:
        file.seek(header.header_bytes + info.start)
        raw = file.read(info.end - info.start)
    if len(raw) != info.end - info.start:
        _refuse(header.path, f"truncated inside tensor {clean(name)}")
    values: np.ndarray = np.frombuffer(raw, dtype=NUMPY[info.dtype]).reshape(info.shape)
    if info.dtype == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32) if info.dtype == "F16" else values


def read_scalars(header: Header, names: Iterable[str]) -> dict[str, float]:
    """Return the one-item tensors of ``names`` as floats, through one open file.

    Raises ``CheckpointError`` for a tensor of another size or a dtype that is not read here.
    """
    values: dict[str, float] = {}
    with _open(header.path) as file:
        for name in names:
            info = header.tensors[name]
            code = STRUCT.get(info.dtype)
            if info.items != 1 or code is None:
                _refuse(header.path, f"tensor {clean(name)} is not one number")
            raw = os.pread(file.fileno(), info.end - info.start, header.header_bytes + info.start)
            if len(raw) != info.end - info.start:
                _refuse(header.path, f"truncated inside tensor {clean(name)}")
            if info.dtype == "BF16":  # the upper half of a float32
                raw = b"\0\0" + raw
            values[name] = float(struct.unpack(code, raw)[0])
    return values


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of the whole file in hex, read in chunks."""
    return _sha256(Path(path), 0)


def data_sha256(header: Header) -> str:
    """Return the SHA-256 of the data section: what sd-scripts stores as ``sshs_model_hash``."""
    return _sha256(header.path, header.header_bytes)


def iterate_data(header: Header, info: TensorInfo) -> Iterator[bytes]:
    """Yield the bytes of one tensor in chunks of at most ``CHUNK_BYTES`` (a multiple of 8)."""
    with _open(header.path) as file:
        file.seek(header.header_bytes + info.start)
        left = info.end - info.start
        while left > 0 and (chunk := file.read(min(left, CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk


def _sha256(path: Path, start: int) -> str:
    digest = hashlib.sha256()
    with _open(path) as file:
        file.seek(start)
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _open(path: Path) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise CheckpointError(f"{clean(path)}: expected a .safetensors file, this is {kind}")
        return path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CheckpointError(
            f"{clean(path)}: cannot read the checkpoint ({clean(reason)}); "
            "name a LoRA file that can be read"
        ) from error


def _refuse(path: Path, reason: str) -> NoReturn:
    raise CheckpointError(f"{clean(path)}: not a usable safetensors file: {reason}")


def _check_start(path: Path, head: bytes, size: int, length: int) -> None:
    what = stranger(head)
    if what is not None:
        raise CheckpointError(
            f"{clean(path)}: expected a safetensors file, found {what}; only .safetensors is read"
        )
    if size < 8:
        _refuse(path, f"it has {size} bytes, the format needs at least 8")
    if length > size - 8:
        _refuse(path, f"truncated or damaged: a header of {length} bytes in a file of {size} bytes")
    if length > MAX_HEADER_BYTES:
        _refuse(path, f"a header of {length} bytes; a LoRA needs less than {MAX_HEADER_BYTES}")
    if head[8:9] != b"{":
        _refuse(path, "the header does not start with {")


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    strings = (raw.count(b'"') - raw.count(b'\\"')) // 2
    if strings > MAX_STRINGS or raw.count(b"[") > MAX_STRINGS:
        _refuse(path, f"its header holds more than {MAX_STRINGS} strings or lists")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(path, f"the header is not UTF-8 at byte {error.start}")
    try:
        tree = strict_json.loads(text)
    except ValueError as error:
        _refuse(path, f"the header is not the expected JSON ({clean(error)})")
    if not isinstance(tree, dict):
        _refuse(path, "the header is not a JSON object")
    return tree


def _metadata(path: Path, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        _refuse(path, "__metadata__ must map names to strings")
    return value


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


class _TensorName(str):
    """A tensor's name for a message, escaped only where the message is made."""

    __slots__ = ()

    def __format__(self, _: str) -> str:
        return f"tensor {clean(str(self))}"


def _tensor(path: Path, name: str, row: Any) -> TensorInfo:
    what = _TensorName(name)
    if not isinstance(row, dict) or not {"dtype", "shape", "data_offsets"} <= row.keys():
        _refuse(path, f"{what} lacks dtype, shape or data_offsets")
    dtype, shape, offsets = row["dtype"], row["shape"], row["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        _refuse(path, f"{what} has the unknown dtype {clean(dtype)}")
    if not isinstance(shape, list) or len(shape) > 16 or not all(map(_is_size, shape)):
        _refuse(path, f"the shape of {what} is not a list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        _refuse(path, f"the data_offsets of {what} are not two positions")
    info = TensorInfo(name, dtype, tuple(shape), offsets[0], offsets[1])
    if info.end - info.start != info.items * ITEM_BYTES[dtype]:
        _refuse(path, f"the offsets of {what} do not fit its shape and dtype")
    return info


def _by_start(info: TensorInfo) -> tuple[int, int]:
    return info.start, info.end


def _check_tiling(path: Path, infos: list[TensorInfo], data_bytes: int) -> None:
    position = 0
    for info in infos:
        if info.start != position:
            problem = "overlaps another" if info.start < position else "leaves a hole before it"
            _refuse(path, f"the data of tensor {clean(info.name)} {problem}")
        position = info.end
    if position > data_bytes:
        _refuse(
            path, f"truncated: its tensors need {position} bytes of data, {data_bytes} are there"
        )
    if position < data_bytes:
        _refuse(path, f"{data_bytes - position} bytes at its end belong to no tensor")
