"""Exceptions: one class for each kind of error, with the exit code of the program."""


class Error(Exception):
    """Whatever asof refuses or fails at. Each is of one of the classes below."""

    kind = "internal"
    exit_code = 70

    def __init__(self, message, hints=()):
        super().__init__(message)
        self.hints = list(hints)
        for hint in self.hints:
            self.add_note(f"hint: {hint}")

    def __reduce__(self):
        return type(self), (str(self), self.hints)


class IoError(Error):
    """Reading or writing failed: try again."""

    kind = "io"
    exit_code = 1


class UsageError(Error):
    """A name, an argument or `asof.toml` is wrong: trying again does not help."""

    kind = "usage"
    exit_code = 2


class RefusedError(Error):
    """The data was refused, by a key check, a guard, a gap or a type. Nothing was published."""

    kind = "refused"
    exit_code = 3


class ConflictError(Error):
    """Another writer published first: try again."""

    kind = "conflict"
    exit_code = 4


class PartialError(Error):
    """Some dates or tables failed, and the others are published: run it again."""

    kind = "partial"
    exit_code = 5


class InternalError(Error):
    """A fault of asof's own: report it."""

    kind = "internal"
    exit_code = 70


BY_KIND = {
    error.kind: error
    for error in (IoError, UsageError, RefusedError, ConflictError, PartialError, InternalError)
}
