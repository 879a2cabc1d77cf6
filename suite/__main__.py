"""`python -m suite` and `prunemark`: see `suite.cli`."""

import sys


def run() -> int:
    """`suite.cli.main`; an interrupt while the program is read is a line, too, and so is a package that is missing."""
    try:
        from suite.cli import main
    except KeyboardInterrupt:
        print("prunemark: interrupted before anything was done", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "suite").partition(".")[0] == "suite":
            raise
        print(f"prunemark: {sys.executable} has no {error.name}: pip install -e . in the checkout", file=sys.stderr)
        return 1
    return main()


if __name__ == "__main__":
    sys.exit(run())
