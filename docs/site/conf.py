"""The configuration of `make docs`, which builds the pages of docs/ into a site with Sphinx.

The pages are plain Markdown that reads well on GitHub; what only the site needs is added here: the
order of the pages, which docs/index.md lists, and for translations their language and direction.
"""

import re
from typing import Any, Final

from pygments.lexers.special import TextLexer

project = "Perpcache"
copyright = "the authors of Perpcache, MIT licence"
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["*.md", "client/README.md", "docs/**.md"]
html_theme = "furo"
html_title = project
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["languages.css"]
html_additional_pages = {"index": "to_the_first_page.html"}
templates_path = ["templates"]
myst_heading_anchors = 4
# SQL with macros of Grafana is shown all the same, in fewer colours.
suppress_warnings = ["misc.highlighting_failure"]

_LANGUAGES: Final = {"docs/fa/": "fa", "README.ru": "ru", "README.vi": "vi"}
# Words after a fence that Pygments does not know.
_PLAIN: Final = ("cron", "caddy")


def order_of_pages(index: str) -> str:
    """The index with a tree of pages for each of its lists of links."""
    trees = []
    for section in index.split("\n## ")[1:]:
        pages = re.findall(r"^- \[([^]]+)\]\(([^)#]+)\.md\)", section, re.MULTILINE)
        entries = "\n".join(f"{title} <{page}>" for title, page in pages)
        caption = section.partition("\n")[0]
        trees.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n")
    return index + "\n" + "\n".join(trees)


def read(_: Any, name: str, source: list[str]) -> None:
    """Changes a page's text before Sphinx reads it."""
    if name == root_doc:
        source[0] = order_of_pages(source[0])
    # GitHub needs these to write from right to left; here the style does it.
    source[0] = re.sub(r"^</?div(?: dir=\"\w+\")?>\n", "", source[0], flags=re.MULTILINE)


def tell_language(_: Any, name: str, __: str, context: dict[str, Any], ___: Any) -> None:
    for beginning, language in _LANGUAGES.items():
        if name.startswith(beginning):
            context["language"] = language


def setup(app: Any) -> None:
    for language in _PLAIN:
        app.add_lexer(language, TextLexer)
    app.connect("source-read", read)
    app.connect("html-page-context", tell_language)
