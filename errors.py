"""The one kind of error that whoever called can mend; every other exception is a fault of this project."""


class UserError(ValueError):
    """What was asked for cannot be done; the message names the thing and the remedy, in one sentence.

    The command line answers it with that sentence and exit code 2, serving with a status below 500, training without
    another try. It is a `ValueError`, so that validators of settings may raise it.
    """
