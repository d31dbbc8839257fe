"""What a browser would see of a page."""

from collections import Counter
from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img"}
LINKS = {"src", "href", "xlink:href", "action", "data", "poster", "srcset"}


class Page(HTMLParser):
    """Collects tags, texts, links and ids, and fails where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.tags: Counter[str] = Counter()
        self.links: list[str] = []
        self.ids: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()
        self.cells: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.update(name for name, _ in attributes)
        self.links += [value or "" for name, value in attributes if name in LINKS]
        self.ids.update(value or "" for name, value in attributes if name == "id")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._open and self._open[-1] == "td":
            self.cells.append(data)

    def check_stands_alone(self) -> None:
        """Fails where the page loads or runs something, or links to elsewhere than itself."""
        assert not {"script", "link", "img", "image", "iframe", "object", "a", "base", "form", "foreignobject"} & set(
            self.tags
        )
        assert not [name for name in self.attributes if name.startswith("on")]
        assert {link[:1] for link in self.links} <= {"#"}
        assert {link[1:] for link in self.links} <= self.ids.keys()
        assert max(self.ids.values(), default=1) == 1
        assert "@import" not in "".join(self.texts)
        assert "url(http" not in self.source
