"""The error of a user's input: one line that says what is wrong, under which key, and what is allowed."""


class BadInput(ValueError):  # noqa: N818  # the name says who has to act
    """Something the user gave cannot be used: a value, a combination of keys, or a file.

    The message is one line that names the key (or the file), the value found and what is allowed. The
    command line prints it without a traceback and exits with code 2.
    """


class Interrupted(BaseException):
    """The user or the system asked to stop. Not an ``Exception``, so that no handler of failures takes it for one.

    Attributes:
        signal: number of the signal; a command exits with 128 plus it.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal
