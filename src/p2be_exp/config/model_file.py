"""``model=FILE.py:NAME``: a file of the user's own with a function that builds a network. Nothing here imports torch.

The file is code that the user names, as a plug-in is.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2be_exp.config.plugin_files import digest_of
from p2be_exp.errors import BadInput, one_line
from p2be_exp.system.foreign import in_run_folder
from p2be_exp.system.paths import user_path

ARGUMENTS = ("model", "encoding", "surrogate", "input")
"""What a function may return in a mapping: these arguments of :func:`p2be_exp.benchmark`."""


@dataclass(frozen=True)
class ModelFile:
    """A function in a file.

    Attributes:
        path: the file.
        function: the function's name.
        text: as the user gave both.
        digest: SHA-256 of the file.
    """

    path: Path
    function: str
    text: str
    digest: str

    @classmethod
    def find(cls, text: str) -> ModelFile:
        """The function that a user names; nothing is imported.

        Args:
            text: ``FILE.py:NAME``, or ``FILE.py`` for a function called ``build``.

        Raises:
            BadInput: no such file, not a Python file, or one in a run folder.
        """
        file, colon, function = text.rpartition(":")
        file, function = (file, function) if colon else (text, "build")
        if not file or not function.isidentifier():
            raise BadInput(f"model={text}: must be FILE.py:NAME, a function in a file that returns a torch.nn.Module")
        path = user_path("model", file)
        if path.suffix != ".py":
            raise BadInput(f"model={text}: must be a Python file, FILE.py:NAME")
        if not path.is_file():
            raise BadInput(f"model={text}: no such file")
        if in_run_folder(path):
            raise BadInput(f"model={text}: inside a run folder; nothing there is imported")
        try:
            return cls(path, function, text, digest_of(path))
        except OSError as error:
            raise BadInput(f"model={text}: cannot be read ({error.strerror})") from error

    @property
    def name(self) -> str:
        """A name of the network for people and folders: the file's, and the function's where it is not ``build``."""
        return self.path.stem if self.function == "build" else f"{self.path.stem}_{self.function}"

    def settings(self) -> dict[str, str]:
        """What the settings of results say of it."""
        return {"name": self.name, "file": self.path.name, "function": self.function, "sha256": self.digest}

    def build(self) -> dict[str, Any]:
        """Import the file and call the function.

        Returns:
            Arguments of :func:`p2be_exp.benchmark`, of :data:`ARGUMENTS`; ``model`` is one of them.

        Raises:
            BadInput: the import or the call fails, there is no such function, or it returns something else.
        """
        built = self._called(self._function())
        if not isinstance(built, Mapping):
            return {"model": built}
        if unknown := [key for key in built if key not in ARGUMENTS]:
            raise BadInput(f"model={self.text}: returns {unknown[0]!r}; the keys are {', '.join(ARGUMENTS)}")
        if "model" not in built:
            raise BadInput(f"model={self.text}: returns a mapping without 'model', the torch.nn.Module")
        return dict(built)

    def _function(self) -> Any:
        name = f"p2be_model_{self.path.stem}"
        spec = importlib.util.spec_from_file_location(name, self.path.absolute())
        assert spec is not None  # it is a Python file
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        folder = str(self.path.absolute().parent)
        if folder not in sys.path:
            sys.path.append(folder)  # for modules beside it; last, so that none of them hides an installed one
        sys.modules[name] = module  # dataclasses look themselves up there
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise self._fails("cannot be imported", error) from error
        function = getattr(module, self.function, None)
        if not callable(function):
            raise BadInput(f"model={self.text}: {self.path.name} has no function {self.function}")
        return function

    def _called(self, function: Any) -> Any:
        try:
            return function()
        except BadInput:
            raise
        except Exception as error:
            raise self._fails(f"{self.function}() fails", error) from error

    def _fails(self, what: str, error: Exception) -> BadInput:
        first = one_line(next(iter(str(error).strip().splitlines()), ""))
        return BadInput(f"model={self.text}: {what} ({type(error).__name__}{f': {first}' if first else ''})")
