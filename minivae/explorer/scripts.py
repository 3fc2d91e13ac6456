"""What a browser runs, out of modules that are easier to read apart.

The page is built by a Python without torch, which loads this file alone.
"""

import re
from pathlib import Path

IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.M)
EXPORT = re.compile(r"^export (?!default )", re.M)


def joined(module: Path) -> str:
    """A module as one text: those that it imports stand in front of it.

    Args:
        module: a file whose imports from its folder bind names as they are.

    Returns:
        The text, which imports nothing and has at most one default export.

    Example:
        >>> folder = Path(__file__).parent
        >>> text = joined(folder / "trainer.js")
        >>> text.index("class Adam") < text.index("class Trainer")
        True
    """
    parts: dict[Path, str] = {}  # each once, though several may import it

    def add(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        for name in IMPORT.findall(text):
            if path.parent / name not in parts:
                add(path.parent / name)
        parts[path] = EXPORT.sub("", IMPORT.sub("", text))

    add(module)
    return "\n".join(parts.values())
