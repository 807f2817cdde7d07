"""HTML in which every text is escaped."""

import html
from collections.abc import Iterable

from eckart.printable import printable

_VOID = {"meta", "input", "img", "br", "link"}
_LONGEST = 2000


class Markup(str):
    """Text that is HTML already, and is not escaped again."""


def element(tag: str, *children: str | None, **attributes: str | bool | None) -> Markup:
    """Write an element.

    Args:
        tag: Its name.
        *children: Texts, which are escaped and made printable, and markup, which stays as it is; None is left out.
        **attributes: Values by name, where ``class_`` is ``class`` and ``data_plot`` is ``data-plot``. ``True`` writes
            an attribute without a value, ``False`` and None write none.

    Example:
        >>> element("a", "<b>", href='"#runs"', class_="link", hidden=False)
        '<a href="&quot;#runs&quot;" class="link">&lt;b&gt;</a>'
    """
    written = [tag]
    for name, value in attributes.items():
        key = name.rstrip("_").replace("_", "-")
        if value is True:
            written.append(key)
        elif value is not None and value is not False:
            written.append(f'{key}="{value if isinstance(value, Markup) else text(value)}"')
    opened = f"<{' '.join(written)}>"
    return Markup(opened if tag in _VOID else f"{opened}{together(children)}</{tag}>")


def together(children: Iterable[str | None]) -> Markup:
    """Texts and markup one after the other, texts escaped.

    Example:
        >>> together(["1 < 2", element("br"), None])
        '1 &lt; 2<br>'
    """
    given = (child for child in children if child is not None)
    return Markup("".join(child if isinstance(child, Markup) else text(child) for child in given))


def text(value: object) -> Markup:
    r"""A value as text of a page: printable, on one line, and escaped also for the inside of quotes.

    Characters that reverse the direction of text or that are not printable become spaces, as on the terminal.

    Example:
        >>> text("</script>\u202e'x'")
        '&lt;/script&gt; &#x27;x&#x27;'
    """
    return Markup(html.escape(_kept(str(value))))


def _kept(value: str) -> str:
    # Spaces at the ends part words from the markup beside them.
    inner = printable(value, _LONGEST)
    if not inner:
        return " " if value else ""
    return f"{' ' * value[0].isspace()}{inner}{' ' * value[-1].isspace()}"
