"""What the built file runs."""

from letsbe.cli.main import main
from letsbe.frozen import leave

try:
    main()
except SystemExit as end:
    leave(end.code)
