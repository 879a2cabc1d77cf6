"""`python -m suite` and `prunemark`: see `suite.cli`."""

import signal
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
    try:
        return main()
    except KeyboardInterrupt:  # pressed again while the first was answered
        return 1
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and again while the program ends
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(run())
