"""The command ``python -m benchmarks.memory``: needs the repository, and no installation of it."""

import sys

from benchmarks.gpu.dependencies import SOURCE, missing_line


def main() -> int:
    """Check what is installed, then run the command; return its exit code."""
    sys.path.insert(0, str(SOURCE))
    if line := missing_line():
        print(line, file=sys.stderr)
        return 2
    from benchmarks.memory.command import main as run  # imports what has just been found

    return run(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
