"""Whether W&B can be reached: runs are kept on disk where it cannot, with one line that says so."""

import ssl
import threading
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import wandb

from eckart.errors import one_line
from eckart.results.terminal import shown

SECONDS = 3.0
"""How long an answer is waited for."""

_told: set[Path] = set()


def is_reached(folder: Path) -> bool:
    """Whether runs can be sent to W&B now. Nothing is ever asked for on the terminal.

    Runs are kept on disk if the mode is not ``online``, if nobody is logged in, and, with a warning, if W&B does not
    answer within ``SECONDS`` or the key is none.

    Args:
        folder: Folder that the runs are kept below.
    """
    settings = wandb.setup().settings
    if settings.mode != "online":
        return False
    silent, settings.silent = settings.silent, True
    try:
        # Without prompt=False W&B would ask for an account, and wait; to verify the key it would wait 10 s.
        if not wandb.login(prompt=False, verify=False):
            return False
    except wandb.Error as error:
        tell(folder, f"W&B takes no such key ({one_line(error)})")
        return False
    finally:
        settings.silent = silent
    if not answers(settings.base_url):
        tell(folder, f"W&B at {settings.base_url} does not answer")
        return False
    return True


def tell(folder: Path, problem: str) -> None:
    """Warn that runs are kept on disk, once for each folder.

    Args:
        folder: Folder that the runs are kept below.
        problem: Why, without a full stop.
    """
    if folder not in _told:
        _told.add(folder)
        later = f"`wandb sync {shown(folder / 'wandb')}/offline-run-*` sends them later"
        warnings.warn(f"{problem}: the runs are kept offline; {later}", stacklevel=2)


def answers(url: str, seconds: float = SECONDS) -> bool:
    """Whether a server answers HTTP, with any status.

    Args:
        url: Address of the server. Proxies of the environment are used.
        seconds: How long an answer is waited for.

    Example:
        >>> answers("http://127.0.0.1:1")
        False
    """
    answered = threading.Event()
    # Not in this thread: to look up a name can take longer, and cannot be ended.
    thread = threading.Thread(target=_ask, args=(url, seconds, answered), daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def _ask(url: str, seconds: float, answered: threading.Event) -> None:
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError:
        answered.set()
    except urllib.error.URLError as error:
        # W&B's own process knows other certificates.
        if isinstance(error.reason, ssl.SSLError):
            answered.set()
    except (OSError, ValueError):
        return
    else:
        answered.set()
