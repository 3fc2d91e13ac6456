"""Draw the picture that a shared link shows, and the icon for phones.

    python book/_ext/card.py

Both are kept in book/_static. Draw them again when the title, the icon or the
sheet of digits has changed.
"""

import xml.etree.ElementTree as ET
from pathlib import Path

import yaml
from descriptions import CARD, CARD_SIZE, TOUCH_ICON
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

BOOK = Path(__file__).resolve().parents[1]
STATIC = BOOK / "_static"
FONTS = Path(get_data_path()) / "fonts" / "ttf"
LINES = (
    "Autoencoders, VAEs and",
    "conditional VAEs in PyTorch.",
    "The chapters run, and tests",
    "check what they claim.",
)
INK, GREY, PAPER = "#222832", "#48566b", "#ffffff"
FINER = 4  # shapes are drawn larger and then made smaller: smooth edges


def icon(size: int, margin: int = 0) -> Image.Image:
    """The icon on white paper; it knows polygons and circles."""
    root = ET.parse(STATIC / "icon.svg").getroot()  # noqa: S314  our own
    units = float(root.get("viewBox").split()[2])
    inner = (size - 2 * margin) * FINER / units
    shift = margin * FINER
    picture = Image.new("RGB", (size * FINER, size * FINER), PAPER)
    draw = ImageDraw.Draw(picture)
    for shape in root:
        kind = shape.tag.rpartition("}")[2]
        fill = shape.get("fill")
        if kind == "polygon":
            pairs = [p.split(",") for p in shape.get("points").split()]
            draw.polygon(
                [tuple(float(v) * inner + shift for v in p) for p in pairs],
                fill=fill,
            )
        elif kind == "circle":
            x, y, r = (float(shape.get(k)) for k in ("cx", "cy", "r"))
            box = (x - r, y - r, x + r, y + r)
            draw.ellipse([v * inner + shift for v in box], fill=fill)
        else:
            raise ValueError(f"icon.svg: no polygon and no circle: {kind}")
    return picture.resize((size, size), Image.Resampling.LANCZOS)


def card(title: str) -> Image.Image:
    """Icon, title and what it is about, beside the sheet of digits."""
    width, height = CARD_SIZE
    picture = Image.new("RGB", CARD_SIZE, PAPER)
    with Image.open(STATIC / "manifold.png") as sheet:
        digits = sheet.convert("RGB").resize(
            (height, height), Image.Resampling.LANCZOS
        )
    picture.paste(digits, (width - height, 0))
    picture.paste(icon(110), (56, 64))
    draw = ImageDraw.Draw(picture)
    bold = ImageFont.truetype(FONTS / "DejaVuSans-Bold.ttf", 60)
    plain = ImageFont.truetype(FONTS / "DejaVuSans.ttf", 30)
    first, _, rest = title.partition(" ")
    draw.text((56, 210), f"{first}\n{rest}", INK, bold, spacing=14)
    draw.text((56, 400), "\n".join(LINES), GREY, plain, spacing=12)
    return picture


def main() -> None:
    """Write both pictures."""
    config = yaml.safe_load((BOOK.parent / "_config.yml").read_text())
    for name, picture in (
        (CARD, card(config["title"])),
        (TOUCH_ICON, icon(180, margin=22)),
    ):
        # a palette for few greys; the other methods lose the small dot
        few = picture.quantize(128, method=Image.Quantize.FASTOCTREE, dither=0)
        few.save(BOOK / name, optimize=True)


if __name__ == "__main__":
    main()
