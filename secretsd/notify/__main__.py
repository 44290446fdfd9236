"""The notify helper's entry: `python3 -IS /usr/lib/secretsd/secretsd/notify`, which is what its unit runs."""

import os
import sys

# -I and -S, for speed and so that root runs nothing of a user's, leave the package's own folder out too.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from secretsd.notify.helper import main

sys.exit(main(sys.argv[1:]))
