"""``python -m letsbe.orchestrator``"""

from letsbe.orchestrator.cli import main

if __name__ == "__main__":
    main()
