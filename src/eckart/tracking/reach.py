"""Whether W&B can be reached: runs are kept on disk where it cannot, with one line that says so."""

import base64
import contextlib
import io
import json
import ssl
import threading
import urllib.error
import urllib.request
import warnings
from http.client import HTTPException
from pathlib import Path

import wandb

from eckart.errors import one_line
from eckart.results.terminal import shown

SECONDS = 3.0
"""How long an answer is waited for."""

_LONGEST = 2**20
_told: set[Path] = set()


def is_reached(folder: Path) -> bool:
    """Whether runs can be sent to W&B now. Nothing is ever asked for on the terminal.

    Runs are kept on disk if the mode is not ``online``, if nobody is logged in, and, with a warning, if W&B does not
    answer within ``SECONDS`` or refuses the key.

    Args:
        folder: Folder that the runs are kept below.
    """
    settings = wandb.setup().settings
    if settings.mode != "online":
        return False
    try:
        # A key that the environment names is asked for before W&B's own process sees it, and complains of it.
        found = settings.api_key and obstacle(settings.base_url, settings.api_key)
        if not found:
            asked = settings.api_key
            if not _logged_in(settings):
                return False
            found = None if asked else obstacle(settings.base_url, settings.api_key)
    except wandb.Error as error:
        found = f"takes no such key ({one_line(error).rstrip('.')})"
    if found:
        tell(folder, f"W&B at {settings.base_url} {found}")
    return not found


def _logged_in(settings: wandb.Settings) -> bool:
    silent, settings.silent = settings.silent, True
    try:
        # Without prompt=False W&B would ask for an account, and wait. It says where it found a key even if silent.
        with contextlib.redirect_stderr(io.StringIO()):
            return wandb.login(prompt=False, verify=False)
    finally:
        settings.silent = silent


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


def obstacle(url: str, key: str | None, seconds: float = SECONDS) -> str | None:
    """What keeps runs from being sent; None if nothing is known to.

    W&B's own client tries for 90 s before it gives up.

    Args:
        url: Address of W&B. Proxies of the environment are used.
        key: The user's key; None if the user is known by other means.
        seconds: How long an answer is waited for.

    Example:
        >>> obstacle("http://127.0.0.1:1", None)
        'does not answer'
    """
    found = ["does not answer"]
    # Not in this thread: to look up a name can take longer, and cannot be ended.
    thread = threading.Thread(target=_ask, args=(url, key, seconds, found), daemon=True)
    thread.start()
    thread.join(seconds)
    return found[-1] or None


def _ask(url: str, key: str | None, seconds: float, found: list[str]) -> None:
    query = json.dumps({"query": "query Viewer { viewer { id } }", "variables": {}}).encode()
    request = urllib.request.Request(f"{url.rstrip('/')}/graphql", query, {"Content-Type": "application/json"})
    if key:
        request.add_header("Authorization", f"Basic {base64.b64encode(f'api:{key}'.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            viewer = json.loads(answer.read(_LONGEST))["data"]["viewer"]
        found.append("refuses the key" if key and viewer is None else "")
    except urllib.error.HTTPError as error:
        found.append("refuses the key" if key and error.code in (401, 403) else "")
    except urllib.error.URLError as error:
        # W&B's own process can know other certificates.
        if isinstance(error.reason, ssl.SSLError):
            found.append("")
    except (LookupError, TypeError, ValueError):
        # Something answers; if it is not W&B, its client says so.
        found.append("")
    except (OSError, HTTPException):
        return
