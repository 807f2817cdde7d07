"""Build the documentation site into build/site: examples that have changed are run, and no warning is let pass."""

import sys
import time
from pathlib import Path

import site_api
import site_configuration
import site_gallery
import site_lessons
import site_links
from sphinx.cmd.build import build_main

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SITE = ROOT / "build" / "site"


def main() -> None:
    """Build the site; a warning, a name that is missing or a broken link ends it with status 1."""
    began = time.perf_counter()
    print(build(SITE))
    print(f"{sum(1 for _ in SITE.rglob('*.html'))} pages in {time.perf_counter() - began:.0f} s")


def build(site: Path) -> Path:
    """Build the site.

    Args:
        site: Its folder.

    Returns:
        Its first page.
    """
    site_api.write(DOCS / "api")
    site_configuration.write(DOCS / "configuration")
    site_gallery.write(site_gallery.examples(), DOCS / "gallery")
    site_lessons.write(site_lessons.lessons(), DOCS / "lessons")
    # Its cache lies beside the site, which is what is published.
    if build_main(["-q", "-W", "--keep-going", "-b", "html", "-d", f"{site}.cache", str(DOCS), str(site)]):
        sys.exit("The site must be built without a warning. Found those above.")
    missing = site_api.every_name() - site_api.documented((site / "objects.inv").read_bytes())
    if missing:
        sys.exit(f"The site must have every public name. Found none of {', '.join(sorted(missing))}.")
    if broken := site_links.broken_in_site(site):
        sys.exit("\n  ".join(["Every link of the site must lead somewhere, and load nothing. Found", *broken]))
    return site / "index.html"


if __name__ == "__main__":
    main()
