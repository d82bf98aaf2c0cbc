"""Every error that vidrase raises on purpose.

    VidraseError
      SourceError(OSError)
        SourceNotFound(FileNotFoundError)
        UnsupportedSource(ValueError)
          RefusedSource
        DecodeError
        CameraTimeout(TimeoutError)
      SinkError(OSError)
      OptionError(ValueError)
        UnknownLabel(LookupError)
      ShapeError(ValueError)
      ModelError(RuntimeError)
        WeightsMissing
        WeightsCorrupt
        OutOfMemory
      DependencyError(ImportError)

A message names the value seen, what was expected and what to do, in one line. Each class also inherits the builtin
that a Python user would catch. `exit_code` is what the command line ends with: 2 when the request itself was wrong, 1 when
it failed on the way. Secrets in addresses are starred when the error is made.
"""

from __future__ import annotations

from vidrase.starred import starred


class VidraseError(Exception):
    """Anything that vidrase raises on purpose."""

    exit_code = 1

    def __init__(self, *args: object) -> None:
        super().__init__(*(starred(one) if isinstance(one, str) else one for one in args))


class SourceError(VidraseError, OSError):
    """The input cannot be read."""


class SourceNotFound(SourceError, FileNotFoundError):
    """There is no such file, folder or stream."""


class UnsupportedSource(SourceError, ValueError):
    """The input is there but holds no picture that can be read."""


class RefusedSource(UnsupportedSource):
    """The input could be read, but reaches what its user did not name."""

    exit_code = 2


class DecodeError(SourceError):
    """The input broke off or is damaged."""


class CameraTimeout(SourceError, TimeoutError):
    """A live source stopped delivering."""


class SinkError(VidraseError, OSError):
    """The output cannot be written."""


class OptionError(VidraseError, ValueError):
    """An option, or a pair of options, that makes no sense."""

    exit_code = 2


class UnknownLabel(OptionError, LookupError):
    """A class name or id that the model does not know."""


class ShapeError(VidraseError, ValueError):
    """Arrays that do not fit each other."""


class ModelError(VidraseError, RuntimeError):
    """A model cannot be used."""


class WeightsMissing(ModelError):
    """The weights were found in none of the places searched."""


class WeightsCorrupt(ModelError):
    """The weights file is damaged, of another kind, or not the one that was pinned."""


class OutOfMemory(ModelError):
    """The processor ran out of memory even at the smallest batch."""


class DependencyError(VidraseError, ImportError):
    """A library that this needs is missing or does not load."""
