"""Pages that hold all they need: one HTML file each, on one base with one style."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from evaluation.whole_files import write_whole


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Render a template; folders are made, an older page is replaced.

    Args:
        path: the `.html` file.
        template: name of a file in `templates`.
        values: what the template shows; text in it is escaped.
    """
    return write_whole(path, render(PackageLoader("evaluation.reports"), template, **values))


def render(templates: PackageLoader, template: str, **values: Any) -> str:
    """The HTML of a template; text in its values is escaped."""
    environment = Environment(
        loader=templates,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)
