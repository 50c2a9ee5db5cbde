"""The one exception that a command turns into `error: ...` and exit code 1."""


class DlasError(Exception):
    """Something the user can mend: the message says what is wrong, where, and what to do."""
