"""The standard streams, whoever started the program and however."""

import os
import sys
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import io

_STANDARD_ERROR = 2


def open_standard_streams() -> None:
    """Open those of the first three descriptors that are closed: no file or pipe may take their place."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    while nowhere <= _STANDARD_ERROR:
        nowhere = os.dup(nowhere)
    os.close(nowhere)


def keep_standard_streams() -> None:
    """Let a reader that left, and notes that nobody can take, change no exit code."""
    if sys.stdout is not None:
        sys.stdout = cast("io.TextIOWrapper", _Lasting(sys.stdout, BrokenPipeError))
    if sys.stderr is not None:
        sys.stderr = cast("io.TextIOWrapper", _Lasting(sys.stderr, OSError))


class _Lasting:
    """A text stream that goes on as one to nowhere after an error of that kind."""

    def __init__(self, stream: Any, error: type[OSError]) -> None:  # noqa: ANN401 - a text stream
        self._stream, self._error = stream, error

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if text == "":  # as click tries whether it can write at all, and drops the error
            return 0
        try:
            written: int = self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            self._lose(error)
            return len(text)
        return written

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        """Send what is still buffered nowhere, or the interpreter complains when it ends."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        if not isinstance(error, self._error):
            raise error
