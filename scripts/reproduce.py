"""Train the claims of the source documents again and compare their values: ``--help``."""

import argparse
import shlex
import sys
import time
import warnings
from pathlib import Path

from eckart import config
from eckart.reproduction.claims import read_claims


def main() -> None:
    """Reproduce the claims that are asked for, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0] if __doc__ else None)
    parser.add_argument("--list", action="store_true", help="list the claims and stop")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these claims alone")
    parser.add_argument("--seeds", type=int, metavar="N", help="seeds of every claim in place of its own number")
    parser.add_argument("--out", type=Path, default=Path("outputs/reproduction"), metavar="FOLDER", help="%(default)s")
    parser.add_argument("--docs", type=Path, metavar="FOLDER", help="write page, table and pictures here, not to --out")
    parser.add_argument("--page", type=Path, metavar="FOLDER", help="write its reproduction.html anew; train nothing")
    arguments = parser.parse_args()
    if arguments.page is not None:
        _write_page(arguments.page)
        return
    claims = read_claims()
    for name in arguments.only or []:
        if name not in claims:
            sys.exit(f"Unknown claim {name}. {config.nearest(name, claims)}")
    if arguments.seeds is not None and arguments.seeds < 1:
        sys.exit(f"--seeds must be at least 1. Found {arguments.seeds}.")
    if arguments.list:
        for claim in claims.values():
            print(f"{claim.name:<22} {claim.headline}")
        return

    # Heavy: torch and Lightning are not needed to list.
    import torch

    from eckart.reproduction import page
    from eckart.reproduction.training import Reproduction

    warnings.formatwarning = lambda message, *_args, **_kwargs: f"warning: {message}\n"
    # The page says this of the lab's exercise; here it would be said once for each of its seeds.
    warnings.filterwarnings("ignore", message=".*degrees of freedom")
    # At these sizes a second thread saves little, and costs much where the cores are busy.
    torch.set_num_threads(1)
    began = time.perf_counter()
    reproduction = Reproduction(arguments.out, arguments.seeds)
    comparisons, left_out = [], []
    for name in arguments.only or claims:
        claim = claims[name]
        if (line := reproduction.missing(claim)) is not None:
            left_out.append(line)
            print(line, flush=True)
            continue
        comparison = reproduction.compare(claim)
        comparisons.append(comparison)
        verdict = claim.describe([row.verdict for row in comparison.rows])
        print(f"{name:<22} {comparison.seconds:6.1f} s  {verdict}", flush=True)
    command = shlex.join(["python", "scripts/reproduce.py", *sys.argv[1:]])
    seconds = time.perf_counter() - began
    written = page.write(arguments.docs or arguments.out, comparisons, left_out, command, seconds)
    print("\n".join(map(str, written[:3])))


def _write_page(folder: Path) -> None:
    from eckart.errors import one_line
    from eckart.reproduction import html

    try:
        print(html.write(folder))
    except (OSError, ValueError) as error:
        sys.exit(one_line(error))


if __name__ == "__main__":
    main()
