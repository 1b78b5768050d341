"""The one kind of error that whoever called can mend, for all packages; see `vqi2i.errors`."""

from vqi2i.errors import UserError, complaint, first_line, named

__all__ = ["UserError", "complaint", "first_line", "named"]
