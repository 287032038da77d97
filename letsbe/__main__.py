"""``python -m letsbe``, and the entry of the built file."""

from letsbe.cli.main import main

if __name__ == "__main__":
    main()
