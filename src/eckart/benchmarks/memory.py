"""Peak memory of this process during a call."""

import ctypes
import ctypes.util
import gc
import re
import resource
import sys
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Measures the peak of the resident memory beyond what the process holds when the measurement begins.

    On Linux the kernel's own peak is reset, so that memory that an earlier call took does not count. Elsewhere the peak
    of the whole process counts, and a call that takes less than an earlier one is measured as zero.

    Example:
        >>> peak = PeakMemory()
        >>> block = bytearray(2**24)
        >>> peak.beyond() >= 2**23
        True
    """

    def __init__(self) -> None:
        gc.collect()
        _give_back()
        try:
            _CLEAR.write_text("5")
            self._before = _status("VmRSS")
            self._resets = True
        except OSError:
            self._before = _largest()
            self._resets = False

    def beyond(self) -> int:
        """Bytes of the peak since the measurement began, beyond what was held then."""
        return max((_status("VmHWM") if self._resets else _largest()) - self._before, 0)


def peak_of(process: int) -> int:
    """Peak of the resident memory of another process in bytes, since it began its program; 0 where it is not known.

    Example:
        >>> import os
        >>> peak_of(os.getpid()) > 2**20 or sys.platform != "linux"
        True
    """
    try:
        return _status("VmHWM", Path(f"/proc/{process}/status"))
    except OSError:
        return 0


def _give_back() -> None:
    # Memory that malloc keeps after a call would hide what the next one takes.
    library = ctypes.util.find_library("c") if sys.platform == "linux" else None
    trim = getattr(ctypes.CDLL(library), "malloc_trim", None) if library else None
    if trim is not None:
        trim(0)


def _status(name: str, path: Path = _STATUS) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", path.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise OSError(f"There is no {name} in {path}.")
    return 1024 * int(found[1])


def _largest() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
