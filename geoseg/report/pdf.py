"""The page as a PDF, by WeasyPrint, which is an extra; the same page printed by a browser needs nothing of this."""

from importlib import import_module
from typing import Any

from geoseg.errors import ResourceError

_REMEDY = "install it with pip install 'geoseg[pdf]', or print report.html from a browser"


def render_pdf(page: str) -> bytes:
    """A4 pages of an HTML page; scripts do not run, and only pictures inside the page are read.

    Raises:
        ResourceError: WeasyPrint (68 or newer) or the libraries it needs are not installed.
    """
    try:
        weasyprint: Any = import_module("weasyprint")
        fetcher = import_module("weasyprint.urls").URLFetcher(allowed_protocols=("data",))
    except (ImportError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ResourceError(f"a PDF needs WeasyPrint and Pango ({reason}): {_REMEDY}") from error
    content = weasyprint.HTML(string=page, url_fetcher=fetcher).write_pdf()
    if not isinstance(content, bytes):
        raise ResourceError(f"WeasyPrint gave no PDF: {_REMEDY}")
    return content
