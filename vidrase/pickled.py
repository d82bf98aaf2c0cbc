"""Files of `torch.save` read without running anything that they name: tensors, plain data, and records of the rest.

A pickle can call anything that it names. Here nothing is looked up: of what a file names, tensors are put together by our own
code, `OrderedDict` and `set` are what they are, classes of networks become a `Record` of what the file says about them,
and every other name is refused. torch's own `weights_only` had a hole up to 2.5 (CVE-2025-32434), so zip files do without it.
"""

from __future__ import annotations

import io
import math
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar

import torch

from vidrase.errors import ModelError, WeightsCorrupt

LARGEST_PICKLE = 64 << 20  # bytes of names and numbers; those of the largest networks have one
DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_HARMLESS = ("torch.nn.", "ultralytics.", "numpy.", "pathlib.", "datetime.", "types.SimpleNamespace")
_BUILTINS = (
    "set",
    "frozenset",
    "list",
    "dict",
    "tuple",
    "int",
    "float",
    "bool",
    "str",
    "complex",
    "bytearray",
    "slice",
)
_ERRORS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)


class Record:
    """What a file says of an object whose class is left alone: `kind` is the class's full name, `held` its attributes."""

    kind = ""

    def __new__(cls, *_: object, **__: object) -> Record:
        """Takes whatever the file gives to a constructor, and forgets it."""
        one = super().__new__(cls)
        one.held = {}
        return one

    def __init__(self, *_: object, **__: object) -> None:
        self.held: dict[str, Any]

    def __setstate__(self, state: object) -> None:
        """Keep the attributes that the file gives."""
        self.held = {str(name): value for name, value in state.items()} if type(state) is dict else {}


class Stored:
    """A tensor of a file. Not the tensor itself, whose own `__setstate__` a file could call."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def __setstate__(self, state: object) -> None:
        """Tensors have no further state."""
        raise pickle.UnpicklingError("it changes a tensor")


class _Storage:
    """Numbers of a file as one flat tensor."""

    __slots__ = ("flat",)

    def __init__(self, flat: torch.Tensor) -> None:
        self.flat = flat

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes a storage")


def read_pickled(path: Path) -> object:
    """What `path`, a zip of `torch.save`, holds: plain data, `Stored` tensors on the processor, `Record`s of other objects.

    Raises WeightsCorrupt for a file that cannot be read, ModelError for one that wants more than a network.
    """
    if not zipfile.is_zipfile(path):
        raise WeightsCorrupt(f"{path} is damaged or no weights file (.pt or .safetensors); fetch it again")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any("/code/" in name or name.endswith("/constants.pkl") for name in names):
                raise ModelError(
                    f"{path} is a TorchScript program, not weights, and was not loaded; expected a .pt of torch.save"
                )
            found = [name for name in names if name.endswith("/data.pkl")]
            if len(found) != 1 or archive.getinfo(found[0]).file_size > LARGEST_PICKLE:
                raise WeightsCorrupt(f"{path} is no weights file (.pt of torch.save); fetch it again")
            stream = io.BytesIO(archive.read(found[0]))  # the reader asks for single bytes
            return _Reader(stream, archive, found[0].removesuffix("data.pkl"), path).load()
    except ModelError:
        raise
    except _ERRORS as error:
        why = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise WeightsCorrupt(f"{path} cannot be read as weights: it is damaged ({why}); fetch it again") from error


def read_tensors(path: Path) -> dict[str, torch.Tensor] | None:
    """The state dict in `path`, a file of `torch.save`; what stands under "model" when that is one. None: no state dict.

    Raises WeightsCorrupt for a file that cannot be read, ModelError for one that holds more than weights.
    """
    held: object
    if zipfile.is_zipfile(path):
        held = read_pickled(path)
    else:
        try:
            if tarfile.is_tarfile(path):
                raise WeightsCorrupt(f"{path} is damaged or no weights file; fetch it again")
            held = torch.load(path, map_location="cpu", weights_only=True)  # as torch wrote them before 1.6
        except _ERRORS as error:
            if isinstance(error, ModelError):
                raise
            if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
                raise ModelError(f"{path} holds more than weights, and was not loaded") from error
            raise WeightsCorrupt(f"{path} is damaged or no weights file; fetch it again") from error
    if isinstance(held, dict) and isinstance(held.get("model"), dict | Record):
        held = held["model"]  # as torchvision's own training script saves it
    if isinstance(held, Record):
        raise ModelError(
            f"{path} holds more than weights ({held.kind}), and was not loaded; expected a bare state dict"
        )
    if not isinstance(held, dict):
        return None
    state = {name: value.tensor if isinstance(value, Stored) else value for name, value in held.items()}
    whole = all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items())
    return state if whole else None


_NEEDLESS = (pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.INST, pickle.OBJ, pickle.BYTEARRAY8, pickle.NEXT_BUFFER)


class _Reader(pickle._Unpickler):  # type: ignore[name-defined, misc]
    """Looks up no name of the file: `find_class` answers with functions and records of its own.

    Python's own unpickler, not the one in C, in which a few bytes ask for gigabytes (a memo's index, an array's length).
    """

    dispatch: ClassVar[dict[int, Any]] = {
        code: load
        for code, load in pickle._Unpickler.dispatch.items()  # type: ignore[attr-defined]
        if code not in {op[0] for op in _NEEDLESS}
    }

    def __init__(self, stream: Any, archive: zipfile.ZipFile, root: str, path: Path) -> None:
        super().__init__(stream, encoding="utf-8")
        self._archive, self._root, self._path = archive, root, path
        self._storages: dict[str, _Storage] = {}
        if root + "byteorder" in archive.namelist() and archive.read(root + "byteorder") != b"little":
            raise ValueError("its numbers are big-endian")

    def find_class(self, module: str, name: str) -> Any:
        """What stands for `module.name`. Raises ModelError for what no network needs."""
        full = f"{module}.{name}"
        if full == "torch._utils._rebuild_tensor_v2":
            return _tensor
        if full in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
            return _parameter
        if full == "collections.OrderedDict":
            return OrderedDict
        if module == "torch" and (name in DTYPES or isinstance(getattr(torch, name, None), torch.dtype)):
            return name
        if full == "torch.Size":
            return tuple
        if module in ("builtins", "__builtin__"):
            if name in ("set", "frozenset"):
                return {"set": set, "frozenset": frozenset}[name]
            if name in (*_BUILTINS, "getattr"):  # `getattr`: fused layers keep one of their ways forward
                return _record_of(full)
        if full == "torch.device" or full.startswith(_HARMLESS):
            return _record_of(full)
        raise ModelError(f"{self._path} wants to load '{full}', which is no part of a network; it was not loaded")

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage, read once."""
        kind, dtype_name, key, _, count = pid
        if kind != "storage" or dtype_name not in DTYPES or not isinstance(key, str) or not isinstance(count, int):
            raise pickle.UnpicklingError(f"a storage of type {dtype_name!r:.40}")
        if key not in self._storages:
            dtype = DTYPES[dtype_name]
            entry = self._archive.getinfo(f"{self._root}data/{key}")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != count * dtype.itemsize:
                raise ValueError(f"its storage {key[:20]} has another size than it says")
            data = bytearray(self._archive.read(entry))
            self._storages[key] = _Storage(torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype))
        return self._storages[key]


def _record_of(full: str) -> type[Record]:
    return type("Record", (Record,), {"kind": full})


def _tensor(storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Stored:
    """What stands for torch's own function; nothing outside the storage is touched."""
    flat = storage.flat
    numbers = (offset, *size, *stride)
    if not all(type(number) is int and number >= 0 for number in numbers) or len(size) != len(stride):
        raise ValueError("a tensor has no shape")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    count = math.prod(size)
    if count and (last >= len(flat) or count > len(flat)):
        raise ValueError("a tensor reaches beyond its storage")
    return Stored(torch.as_strided(flat, size, stride, offset).contiguous() if count else flat.new_empty(size))


def _parameter(data: Stored, *_: object) -> Stored:
    if not isinstance(data, Stored):
        raise TypeError("a parameter is no tensor")
    return data
