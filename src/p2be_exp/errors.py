"""Errors that are one line for the person at the command line, and the request to stop."""


class BadInput(ValueError):  # noqa: N818  # the name says who has to act
    """Something the user gave cannot be used: a value, a combination of keys, or a file.

    The message is one line that names the key (or the file), the value found and what is allowed. The
    command line prints it without a traceback and exits with code 2.
    """


class NotOwned(BadInput):
    """A folder that is somebody else's: nothing in it may be touched, not even to note the refusal."""


class InUse(NotOwned):
    """A folder that another process is writing into."""


class ResourceError(RuntimeError):
    """The machine could not do what was asked: a full disk, shared memory that is too small, pictures that never came.

    The message is one line that says what failed and what helps. The command line prints it without a traceback and
    exits with code 1; what was saved before can be gone on with.
    """


class Diverged(ResourceError, FloatingPointError):  # noqa: N818  # what happened
    """A training whose loss is no number any more; all ranks of it have the same."""


class Interrupted(BaseException):
    """The user or the system asked to stop. Not an ``Exception``, so that no handler of failures takes it for one.

    Attributes:
        signal: number of the signal; a command exits with 128 plus it.
        waiting: whether it ended a wait for the next batch, where the steps before can be saved; else it may have come
            in the middle of one.
    """

    def __init__(self, signal: int, waiting: bool = False) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal
        self.waiting = waiting


def one_line(error: BaseException | str) -> str:
    """What an error says, on one line that a terminal shows as it is.

    What does not print (line ends, control characters, bytes that were no UTF-8) is written as in a Python text; of a
    text of thousands of characters the middle is left out.

    >>> one_line("a\\nb")
    'a\\\\nb'
    """
    text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(error))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


_LONGEST = 2000
