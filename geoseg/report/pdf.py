"""The page as a PDF, by WeasyPrint, which is an extra; the same page printed by a browser needs nothing of this."""

from typing import Any

from geoseg.errors import ResourceError

_REMEDY = "install it with pip install 'geoseg[pdf]', or print report.html from a browser"


def render_pdf(page: str) -> bytes:
    """A4 pages of an HTML page; scripts do not run, nothing is loaded.

    Raises:
        ResourceError: WeasyPrint or the libraries it needs are not installed.
    """
    try:
        from weasyprint import HTML
    except (ImportError, OSError) as error:
        raise ResourceError(f"a PDF needs WeasyPrint and Pango ({error}): {_REMEDY}") from error
    document: Any = HTML(string=page, url_fetcher=_fetch_data_only)
    content = document.write_pdf()
    if not isinstance(content, bytes):
        raise ResourceError(f"WeasyPrint gave no PDF: {_REMEDY}")
    return content


def _fetch_data_only(url: str, *args: Any, **kwargs: Any) -> Any:
    """Pictures inside the page; nothing else is ever looked up."""
    from weasyprint import default_url_fetcher

    if not url.startswith("data:"):
        raise ValueError(f"{url[:80]} is not part of the page")
    return default_url_fetcher(url, *args, **kwargs)
