"""How Sphinx builds the site: 'make site' writes it to docs/_build/site."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

from xentcli import __version__  # noqa: E402 - after the path

project = "xent"
release = version = __version__
html_title = f"xent {__version__}"
html_short_title = "xent"
language = "en"
extensions = ["myst_parser", "sphinx_click", "atlas_pages"]
exclude_patterns = ["_build", "_ext"]
smartquotes = False  # a quotation mark of code stays what it is
nitpicky = True
myst_enable_extensions = ["attrs_inline", "attrs_block", "fieldlist"]
myst_heading_anchors = 3
html_theme = "furo"
html_static_path = ["_static"]
html_favicon = "_static/icon.svg"
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
templates_path = ["_templates"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_show_search_summary = False  # it fetches pages, which a browser refuses for files
html_theme_options: dict[str, list[str]] = {
    "top_of_page_buttons": []
}  # they link to the sources, which are not copied
html_baseurl = ""
