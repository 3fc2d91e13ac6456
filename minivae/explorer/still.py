"""What a widget leaves where no kernel, or no script, runs."""

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

FOLDER = Path(__file__).parent


class Still:
    """A widget, when it comes first among the bases, with a still picture.

    JupyterLab takes the view out of what is displayed, and a page without a
    kernel the picture.

    Example:
        >>> from minivae.explorer import Trick
        >>> Trick().still()[1:4]
        b'PNG'
    """

    def _figure(self) -> Figure:
        raise NotImplementedError

    def still(self) -> bytes:
        """A PNG for where no script runs."""
        stream = io.BytesIO()
        self._figure().savefig(stream, format="png")
        return stream.getvalue()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle: Any = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        data, *rest = bundle if isinstance(bundle, tuple) else (bundle,)
        data |= {"image/png": self.still(), "text/plain": repr(self)}
        return (data, *rest) if rest else data


def style(name: str) -> str:
    """A style sheet of this folder, behind what all widgets share.

    Example:
        >>> ".minivae-trainer" in style("trainer")
        True
    """
    sheets = (FOLDER / f"{part}.css" for part in ("shared", name))
    return "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets)
