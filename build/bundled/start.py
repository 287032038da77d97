"""Start hook: runs in the built file before anything of letsbe."""

from letsbe.frozen import begin

begin()
