"""What every HTML report has to be, whatever is in it; and its tables as lists of texts."""

from xml.etree import ElementTree as ET

_SVG = "{http://www.w3.org/2000/svg}"
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "a", "main", "nav", "footer", "section"),
    *("h1", "h2", "h3", "h4", "p", "span", "ul", "li", "dl", "dt", "dd", "pre", "code", "div"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "details", "summary"),
    *(f"{_SVG}{tag}" for tag in ("svg", "style", "g", "path", "rect", "line", "text", "defs", "clipPath")),
}


def page(html: str) -> ET.Element:
    """Parse a report, and hold it to what all reports are."""
    assert html.startswith("<!DOCTYPE html>\n")
    root = ET.fromstring(html)  # noqa: S314 - our own, and strict: each element is closed, each text escaped
    every = list(root.iter())
    assert {each.tag for each in every} <= TAGS
    ids = [each.attrib["id"] for each in every if "id" in each.attrib]
    assert len(ids) == len(set(ids))
    for each in every:
        assert_inert(each, set(ids))
    assert root.attrib["lang"] == "en"
    assert [len(root.findall(f".//{tag}")) for tag in ("h1", "main", "title", "footer")] == [1, 1, 1, 1]
    policy = root.find(".//meta[@http-equiv='Content-Security-Policy']")
    assert policy is not None
    assert policy.attrib["content"].startswith("default-src 'none'")
    for region in root.findall(".//div[@role='region']"):
        assert region.attrib["tabindex"] == "0"
        assert region.attrib["aria-label"]
    tables = root.findall(".//table")
    assert len(tables) == len(root.findall(".//div[@role='region']/table"))
    assert {th.attrib["scope"] for th in root.findall(".//th")} <= {"col", "row", "rowgroup"}
    assert_pictured(root)
    return root


def assert_inert(element: ET.Element, ids: set[str]) -> None:
    """Nothing runs, and nothing is loaded: links lead into the page, or to a site that one clicks on."""
    for name, value in element.attrib.items():
        assert not name.startswith("on")
        assert name not in {"src", "srcset", "style", "action", "data", "background"}
        if name.endswith("href"):
            assert element.tag == "a"
            assert value.startswith(("https://", "http://")) or value.removeprefix("#") in ids
    if element.tag.endswith("style"):
        assert not [word for word in ("url(", "@import", "<", "expression") if word in (element.text or "")]


def assert_pictured(root: ET.Element) -> None:
    """Each picture says what it shows, and has its numbers in a table beside it."""
    for parent in root.iter():
        children = list(parent)
        for at, child in enumerate(children):
            if child.tag == "figure":
                (svg,) = child
                assert svg.attrib["role"] == "img"
                assert svg.attrib["aria-label"]
                assert svg.attrib["width"] == "100%"
                assert children[at + 1].find(".//table") is not None


def text(element: ET.Element | None) -> str:
    """Return all the text of an element."""
    assert element is not None
    return "".join(element.itertext()).strip()


def rows(root: ET.Element, anchor: str, number: int = 0) -> list[list[str]]:
    """Return the rows of a table in the section of an anchor, the heading first."""
    table = root.findall(f".//*[@id='{anchor}']//table")[number]
    return [[text(cell) for cell in row] for row in table.iter("tr")]
