"""`python -m vqi2i`, and the command `vqi2i`: the way into the command line, whatever lies on
Python's path.
"""

import sys

from vqi2i.modules import ours_first


def main() -> None:
    """See `run.main`; Ctrl-C ends with exit code 130 at any moment."""
    try:
        ours_first()
        from run import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
