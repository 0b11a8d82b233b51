"""A figure as bytes: PNG, an SVG file, or an SVG element that lives in a page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from xml.etree import ElementTree

from bitfit_probe.rendering.charts.canvas import ACCENT, INK, MUTED, SURFACE, Panel, drawn

__all__ = ["to_inline_svg", "to_png", "to_svg"]

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d+")
#: Attributes whose numbers a hundredth of a point is enough for.
_PLACES = frozenset(("d", "height", "transform", "width", "x", "y"))
_URL = re.compile(r"url\(#([^)]+)\)")
_FONT = re.compile(r"(?P<weight>bold |[1-9]00 )?(?P<size>[\d.]+px) (?P<family>.+)")
#: The classes that the page's style sheet colours, by what the figure's own colour stands for.
_THEMED = {INK: "ink", MUTED: "muted", ACCENT: "accent", SURFACE: "surface"}
_POINTS_TO_PIXELS = 4 / 3


def to_png(*panels: Panel, dpi: int = 160) -> bytes:
    """The panels below each other as PNG."""
    out = io.BytesIO()
    with drawn(panels) as figure:
        figure.savefig(out, format="png", dpi=dpi, metadata={"Software": None})
    return out.getvalue()


def to_svg(*panels: Panel) -> bytes:
    """The panels below each other as an SVG file with real text."""
    out = io.BytesIO()
    with drawn(panels) as figure:
        figure.savefig(out, format="svg", metadata={"Creator": None, "Date": None, "Title": _words(panels)})
    return out.getvalue()


def _words(panels: Sequence[Panel]) -> str:
    return " ".join(panel.words for panel in panels)


def to_inline_svg(key: str, *panels: Panel) -> str:
    """The panels as an ``<svg>`` for a page: no style attribute, the page's font and colours.

    Parameters
    ----------
    key
        Begins every id in it, so that several figures can share a page.
    """
    out = io.BytesIO()
    with drawn(panels) as figure:
        figure.patch.set_visible(False)
        figure.savefig(out, format="svg", metadata={"Creator": None, "Date": None})
    root = ElementTree.fromstring(out.getvalue())
    used = set(_URL.findall(out.getvalue().decode())) | {
        element.get(_XLINK, "")[1:] for element in root.iter() if _XLINK in element.attrib
    }
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        _restyle(element, key, used)
    _flatten(root)
    _head(root, _words(panels))
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode")


def _head(root: ElementTree.Element, words: str) -> None:
    width, height = (float(root.get(side, "0pt")[:-2]) for side in ("width", "height"))
    root.attrib = {
        "class": "chart",
        "viewBox": root.get("viewBox", ""),
        "width": str(round(width * _POINTS_TO_PIXELS)),
        "height": str(round(height * _POINTS_TO_PIXELS)),
        "role": "img",
        "aria-label": words,
        "stroke-linejoin": "round",
    }


def _restyle(element: ElementTree.Element, key: str, used: set[str]) -> None:
    """Attributes instead of styles, which a strict Content-Security-Policy blocks; theme as classes."""
    found = element.attrib
    if "id" in found:
        identity = found.pop("id")
        if identity in used:
            found["id"] = f"{key}-{identity}"
    style = dict(part.split(":", 1) for part in found.pop("style", "").split(";") if ":" in part)
    settings = {name.strip(): value.strip() for name, value in style.items()}
    font = _FONT.fullmatch(settings.pop("font", ""))
    if font:
        settings["font-size"] = font["size"]
        if font["weight"]:
            settings["font-weight"] = font["weight"].strip()
    if element.tag == f"{{{_SVG}}}text" and "fill" not in settings:
        settings["fill"] = INK
    for name in ("fill", "stroke"):
        theme = _THEMED.get(settings.get(name, found.get(name, "")))
        if theme:
            settings.pop(name, None)
            found["class"] = f"{found.get('class', '')} {name[0]}-{theme}".strip()
    found.update({name: value for name, value in settings.items() if name != "font-family"})
    for name, value in list(found.items()):
        if name == _XLINK:
            found["href"] = f"#{key}-{found.pop(name)[1:]}"
        else:
            found[name] = _URL.sub(lambda match: f"url(#{key}-{match[1]})", value)
        if name in _PLACES:
            found[name] = " ".join(_NUMBER.sub(_short, value).split())
    if found.get("transform", "").startswith("rotate(-0 "):
        del found["transform"]


def _short(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _flatten(element: ElementTree.Element) -> None:
    """Take out groups and paths that say nothing, and the space between."""
    children: list[ElementTree.Element] = []
    if element.tag != f"{{{_SVG}}}text":
        element.text = None
    for child in list(element):
        _flatten(child)
        child.tail = None
        if _unseen(child):
            continue
        if child.tag == f"{{{_SVG}}}g" and not child.attrib:
            children += list(child)
        else:
            children.append(child)
    for child in list(element):
        element.remove(child)
    element.extend(children)


def _unseen(element: ElementTree.Element) -> bool:
    stroked = "stroke" in element.attrib or "s-" in element.get("class", "")
    return element.tag == f"{{{_SVG}}}path" and element.get("fill") == "none" and not stroked
