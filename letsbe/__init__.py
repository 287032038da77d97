"""letsbe: the SysAdmin agent of a small company's server, in one executable file."""

__version__ = "0.1.0"
