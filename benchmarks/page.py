"""Tables that a script writes into a page of docs/."""

import pathlib
import re


def put(page: pathlib.Path, name: str, body: str) -> None:
    """Replaces what stands in `page` between `<!-- NAME: begin -->` and `<!-- NAME: end -->`."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    between = f"{re.escape(begin)}.*?{re.escape(end)}"
    page.write_text(re.sub(between, lambda _: f"{begin}\n{body}\n{end}", page.read_text(), flags=re.DOTALL))
