"""Pages that hold all they need: one HTML file each, on one base with one style."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Render a template; folders are made, an older page is replaced.

    Args:
        path: the `.html` file.
        template: name of a file in `templates`.
        values: what the template shows; text in it is escaped.
    """
    environment = Environment(
        loader=PackageLoader("evaluation.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(values)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.partial")
    staged.write_text(page, encoding="utf-8")
    return staged.replace(path)
