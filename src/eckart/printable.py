"""Text from files and messages of libraries, made safe to print on one line."""


def printable(text: object, length: int = 600) -> str:
    r"""One line of printable characters.

    Control characters, which can move the cursor or recolor a terminal, become spaces. So do line breaks and the
    characters that reverse the direction of text. Runs of spaces become one space.

    Args:
        text: Any value; its ``str`` is taken.
        length: Characters that are kept; three dots follow a text that was longer.

    Example:
        >>> printable("two\nlines, \x1b[31mred")
        'two lines, [31mred'
        >>> printable("abcdef", length=3)
        'abc...'
    """
    line = " ".join("".join(character if character.isprintable() else " " for character in str(text)).split())
    return line if len(line) <= length else f"{line[:length]}..."


def visible(text: object) -> str:
    r"""The text as it is where all of its characters are printable, such as a path; otherwise as :func:`printable`.

    Example:
        >>> visible("a  b"), visible("a  b\x1b[31m")
        ('a  b', 'a b [31m')
    """
    line = str(text)
    return line if line.isprintable() else printable(line, len(line))
