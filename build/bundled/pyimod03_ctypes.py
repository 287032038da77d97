"""Stands in for PyInstaller's ctypes hook, which imports ctypes at every start.

The hook looks for bundled libraries by name. letsbe calls libc alone, which is never bundled.
"""


def install() -> None:
    """Nothing to hook."""
