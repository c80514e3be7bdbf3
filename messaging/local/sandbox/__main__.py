"""`python -m messaging.local.sandbox --data-dir DIR [--ports-file F]`."""

import sys

from messaging.local.sandbox.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
