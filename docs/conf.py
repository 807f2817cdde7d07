"""How Sphinx builds the site; ``python scripts/build_site.py`` calls it."""

import re
import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import site_api

project = "eckart"
author = "The authors of eckart"
version = release = installed("eckart")
html_title = f"eckart {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["reproduction.html"]
language = "en"
# A block without a language is text that a terminal shows.
highlight_language = "none"
nitpicky = True
# Names of other packages, whose pages are not read: the site is built without a network. Names that are private.
nitpick_ignore_regex = [("py:.*", r"(?!eckart).*"), ("py:.*", r".*\._\w+"), ("py:.*", r"eckart\.data\.matrix\.Made")]

# A button copies what is typed, without the prompt and without what is printed.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Headings have the addresses that code hosts give them, so that one link serves both.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]
# Two hyphens are an option of a command.
smartquotes = False

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_mock_imports = ["cmfrec", "dask", "distributed", "h5py", "keras", "mlflow", "optht", "primme", "pyarrow"]
autodoc_mock_imports += ["screenot", "surprise", "tensorboard", "tensorflow", "wandb_workspaces", "zarr"]
python_maximum_signature_line_length = 88
# Fields of a dataclass are listed once, by its docstring.
napoleon_use_ivar = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_theme_options: dict[str, Any] = {"navigation_with_keys": True, "source_edit_link": None, "footer_icons": []}
html_static_path = ["site"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_search_scorer = str(Path(__file__).with_name("site") / "scorer.js")
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False


_ALIASES = site_api.aliases()
_ARRAY = re.compile(r"~?numpy\.ndarray\[~?tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[(~?[\w.]+)\]\]")


def _home(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement) -> Any:
    """Where a name is defined that a package has imported, as ``eckart.fit``."""
    target = _ALIASES.get(str(node.get("reftarget")))
    if target is None:
        return None
    return env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, text)


def _short(
    app: Sphinx, what: str, name: str, found: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Arrays as the source names them; a protocol is not called."""
    if getattr(found, "_is_protocol", False):
        return "", None
    return _arrays(signature), _arrays(returned)


def _arrays(text: str | None) -> str | None:
    return text and _ARRAY.sub(r"~numpy.typing.NDArray[\1]", text)


def _skipped(app: Sphinx, what: str, name: str, found: object, skip: bool, options: object) -> bool | None:
    """The fields of a named tuple stand in its signature, and where they need words in its docstring."""
    return True if str(getattr(found, "__doc__", "")).startswith("Alias for field number") else None


def _titled(app: Sphinx, tree: nodes.document, page: str) -> None:
    """A link whose text is the path of a page, which is right on a code host, has the title of the page here."""
    for link in tree.findall(nodes.reference):
        path = re.fullmatch(r"(?:docs/)?(\w+)\.md", link.astext())
        if path and path[1] in app.env.titles:
            link.children = [nodes.inline("", app.env.titles[path[1]].astext())]


def _leveled(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None) -> None:
    """Headings of the menu say their level, which readers of a screen need."""
    menu = str(context.get("furo_navigation_tree", ""))
    context["furo_navigation_tree"] = menu.replace('role="heading"', 'role="heading" aria-level="2"')


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    # After the theme, which makes the menu.
    app.connect("html-page-context", _leveled, priority=900)
    app.connect("missing-reference", _home)
    app.connect("autodoc-process-signature", _short)
    app.connect("autodoc-skip-member", _skipped)
    app.connect("doctree-resolved", _titled)
