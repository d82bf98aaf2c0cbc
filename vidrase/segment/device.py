"""Where the detector runs and in which precision: what was asked for, checked, or what this machine does well."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from vidrase.errors import OptionError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # Intel and AMD; the last is how Linux on ARM calls it


def choose_device(asked: str) -> torch.device:
    """The device for "auto", "cpu", "cuda", "cuda:1" or "mps". Raises OptionError when it is not there."""
    if asked == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(f"cuda:{asked}" if asked.isdigit() else asked)
    except RuntimeError as error:
        raise OptionError(f"device: expected auto, cpu, cuda, cuda:N or mps, got '{asked}'") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            built = "" if torch.version.cuda else f" (torch {torch.__version__} is built without CUDA)"
            there = f"there are {count} CUDA devices" if count else "there is no CUDA device"
            raise OptionError(f"device '{asked}': {there}{built}; use --device cpu or auto")
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise OptionError(
                "device 'mps': this machine has no Metal GPU that torch can use; use --device cpu or auto"
            )
    elif device.type != "cpu":
        raise OptionError(f"device: expected auto, cpu, cuda, cuda:N or mps, got '{asked}'")
    return device


def gpus() -> int:
    """CUDA devices of this machine."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def choose_precision(asked: str, device: torch.device) -> torch.dtype:
    """The number format for "auto", "fp32", "bf16" or "fp16" on `device`. Raises OptionError when it cannot be had.

    auto: bf16 on a CPU that multiplies it in hardware, fp16 on a CUDA device with tensor cores, otherwise fp32.
    """
    if asked == "auto":
        if device.type == "cuda":
            return torch.float16 if torch.cuda.get_device_capability(device) >= (7, 0) else torch.float32
        return torch.bfloat16 if device.type == "cpu" and cpu_has_bf16() else torch.float32
    dtype = _DTYPES[asked]
    if device.type == "cpu" and dtype == torch.float16:
        raise OptionError("precision fp16 is not for a CPU; use bf16, fp32 or auto")
    if device.type == "cpu" and dtype == torch.bfloat16 and not cpu_has_bf16():
        raise OptionError("precision bf16: this CPU has no bf16 arithmetic; use fp32 or auto")
    if device.type == "cuda" and dtype == torch.bfloat16 and not torch.cuda.is_bf16_supported():
        raise OptionError(f"precision bf16: {torch.cuda.get_device_name(device)} has none; use fp16, fp32 or auto")
    return dtype


@cache
def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware (AVX512-BF16, AMX, ARM BF16)."""
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        with suppress(AttributeError, RuntimeError):
            if getattr(torch.cpu, name)():
                return True
    if sys.platform.startswith("linux"):
        with suppress(OSError):
            return bool(_BF16_FLAGS & set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()))
    return False


def precision_name(dtype: torch.dtype) -> str:
    """ "fp32", "bf16" or "fp16"."""
    return next(name for name, known in _DTYPES.items() if known == dtype)
