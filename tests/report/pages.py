"""A page taken apart by an HTML parser: elements, texts, scripts, cells."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        """Texts of the scripts that run."""
        self.data: dict[str, str] = {}
        """id -> text of the blocks of data."""
        self.styles: list[str] = []
        self.rows: list[list[str]] = []
        """Cells of every table row."""
        self.text = ""
        """What is read, but for scripts and styles."""
        self._in_cell = False
        self._within: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    @property
    def policy(self) -> str:
        """The content security policy."""
        found = (one for tag, one in self.elements if tag == "meta" and one.get("http-equiv"))
        return next(found)["content"] or ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True
        elif tag in ("script", "style"):
            self._within.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.rows[-1][-1] = " ".join(self.rows[-1][-1].split())
            self._in_cell = False
        elif tag in ("script", "style"):
            self._within.pop()

    def handle_data(self, data: str) -> None:
        if not self._within:
            self.text += data
            if self._in_cell:
                self.rows[-1][-1] += data
            return
        tag, attributes = self._within[-1]
        if tag == "style":
            self.styles.append(data)
        elif attributes.get("type"):
            self.data[attributes.get("id") or ""] = data
        else:
            self.scripts.append(data)
