"""`python -m meshproxy`: the same as the console script, and nothing else."""

import sys

from meshproxy.cli import main

if __name__ == "__main__":
    sys.exit(main())
