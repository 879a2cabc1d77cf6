"""`python -m suite`: see `suite.cli`."""

import sys

try:
    from suite.cli import main
except KeyboardInterrupt:
    sys.exit("prunemark: interrupted before anything was done")
sys.exit(main())
