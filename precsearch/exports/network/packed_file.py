"""The file of format `packed`: safetensors, so that any reader of those opens it, with a document in its metadata.

Its tensors are ``weight/NAME`` (uint8, the packed codes), ``scale/NAME`` (float32, the reach of each row), ``inputs``
(float32, the reach of each quantized input) and ``float/NAME`` (whatever else is in the state). The document has the
allocation, what the tensors mean, and a checksum: the SHA-256 of the whole file with zeros in the checksum's place.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from precsearch.allocation import Allocation
from precsearch.errors import AllocationError
from precsearch.exports.network.bits import pack, packed_bytes, unpack
from precsearch.exports.network.integers import InputRange, Integers
from precsearch.quantization.grids import Grid

FORMAT: Final = "precsearch-packed"
VERSION: Final = 1
_LENGTH: Final = 8  # bytes that say how long the header is
_ZEROS: Final = b"0" * 64
_MARK: Final = b'{\\"checksum\\":\\"'  # the document is a string in the header, so its quotes are escaped
_AGAIN: Final = "copy or export it again"


@dataclass(frozen=True, eq=False)
class Packed:
    """What a packed file holds.

    Attributes:
        model: name of the model, for people.
        allocation: that the network computes with.
        weights: the quantized weights, by their names in the state of the float model.
        inputs: how layers' inputs are quantized, in the order of the model's modules.
        floats: whatever else is in that state, by name.
        same: further names of tensors that are in `weights` or `floats` under another: tied weights.
    """

    model: str
    allocation: Allocation
    weights: dict[str, Integers]
    inputs: list[InputRange]
    floats: dict[str, Tensor]
    same: dict[str, str]

    def state(self) -> dict[str, Tensor]:
        """The state of the float model with the quantized weights, by all of its names."""
        own = {name: integers.weight() for name, integers in self.weights.items()} | self.floats
        return own | {name: own[owner] for name, owner in self.same.items()}

    def to_bytes(self) -> bytes:
        """The file; the same network gives the same bytes."""
        text = json.dumps(self._document().model_dump(mode="json"), separators=(",", ":"))
        blob = bytearray(save(self._tensors(), metadata={FORMAT: text}))
        start = blob.index(_MARK) + len(_MARK)
        blob[start : start + len(_ZEROS)] = sha256(blob).hexdigest().encode()
        return bytes(blob)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"float/{name}": value.cpu().contiguous() for name, value in self.floats.items()}
        for name, weight in self.weights.items():
            codes = pack(weight.codes.reshape(-1).cpu().numpy(), weight.bits)
            tensors |= {f"weight/{name}": torch.from_numpy(codes), f"scale/{name}": weight.reach.cpu()}
        if self.inputs:
            tensors["inputs"] = torch.tensor([each.reach for each in self.inputs])
        return tensors

    def _document(self) -> _Document:
        return _Document(
            checksum=_ZEROS.decode(),
            format=FORMAT,
            version=VERSION,
            model=self.model,
            allocation=json.loads(self.allocation.to_json()),
            weights=[
                _Weight(name=name, bits=each.bits, shape=list(each.codes.shape), offset=each.grid.offset,
                        groups=each.groups) for name, each in self.weights.items()
            ],
            inputs=[
                _Input(layer=each.layer, module=each.module, position=each.position, bits=each.bits,
                       signed=each.grid.signed, offset=each.grid.offset) for each in self.inputs
            ],
            same=self.same,
        )  # fmt: skip


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Weight(_Frozen):
    name: str
    bits: int
    shape: list[int]
    offset: float
    groups: int


class _Input(_Frozen):
    layer: str
    module: str
    position: int
    bits: int
    signed: bool
    offset: float


class _Document(_Frozen):
    checksum: str  # first: `_MARK` says where it is
    format: str
    version: int
    model: str
    allocation: dict[str, Any]
    weights: list[_Weight]
    inputs: list[_Input]
    same: dict[str, str]


def header_bytes(blob: bytes) -> int:
    """How many bytes of a safetensors file come before its tensors."""
    return _LENGTH + int.from_bytes(blob[:_LENGTH], "little")


def read_packed(path: Path) -> Packed:
    """Read a packed file, and find it whole.

    Raises:
        AllocationError: when it is missing, cut short or altered, is of another format or of a newer version.
    """
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise AllocationError(f"cannot read the packed network {path}: {error.strerror or error}") from None
    document = _checked(blob, path)
    try:
        read, tensors = _Document.model_validate(document), load(blob)
        weights = {each.name: _integers(each, tensors) for each in read.weights}
        allocation = Allocation.from_json(json.dumps(read.allocation))
        inputs = [
            InputRange(each.layer, each.module, each.position, each.bits, Grid(each.signed, each.offset), float(reach))
            for each, reach in zip(read.inputs, tensors.get("inputs", torch.empty(0)), strict=True)
        ]
    except (KeyError, ValueError, SafetensorError) as error:
        first = str(error).splitlines()[0]
        raise AllocationError(f"{path}: what it holds does not go together ({first}); {_AGAIN}") from None
    floats = {name.removeprefix("float/"): value for name, value in tensors.items() if name.startswith("float/")}
    return Packed(read.model, allocation, weights, inputs, floats, read.same)


def _checked(blob: bytes, path: Path) -> dict[str, Any]:
    """The document of a file that is whole."""
    try:
        end = header_bytes(blob)
        header = json.loads(blob[_LENGTH:end])
        size = end + max(
            (entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0
        )
        document = json.loads(header.get("__metadata__", {}).get(FORMAT, "null"))
    except (ValueError, TypeError, LookupError, AttributeError):
        raise AllocationError(f"{path}: not a whole safetensors file; was it cut short or altered? {_AGAIN}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise AllocationError(
            f"{path}: not a packed network: expected format {FORMAT!r} in its metadata, which has "
            f"{', '.join(header.get('__metadata__', {})) or 'nothing'}; export one with `--format packed`"
        )
    if document.get("version") != VERSION:
        raise AllocationError(
            f"{path}: packed format version {document.get('version')!r} is not known here (this precsearch reads "
            f"version {VERSION}); upgrade precsearch, or export the network again with this version"
        )
    if len(blob) != size:
        raise AllocationError(f"{path}: {size:,} bytes were written, but it has {len(blob):,}; {_AGAIN}")
    start = blob.find(_MARK, 0, end) + len(_MARK)
    stop = start + len(_ZEROS)
    if sha256(blob[:start] + _ZEROS + blob[stop:]).hexdigest().encode() != blob[start:stop]:
        raise AllocationError(f"{path}: its checksum is not that of its bytes, which were altered; {_AGAIN}")
    return document


def _integers(each: _Weight, tensors: dict[str, Tensor]) -> Integers:
    packed, values = tensors[f"weight/{each.name}"].numpy(), prod(each.shape)
    if len(packed) != packed_bytes(values, each.bits):
        raise ValueError(f"{each.name} has {len(packed)} bytes")
    codes = torch.from_numpy(unpack(packed, each.bits, values)).reshape(each.shape)
    return Integers(codes, tensors[f"scale/{each.name}"], each.bits, Grid(True, each.offset), each.groups)
