"""Entry point of the monitor image; its programs arrive with DriftPolicy."""

import sys


def main() -> int:
    """Say that this version has no monitor program yet; 2 = another try does not mend it."""
    print("linnet-monitor has no program in this version of Linnet: upgrade", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
