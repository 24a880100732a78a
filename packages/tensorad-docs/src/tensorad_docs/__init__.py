"""The executable tutorials of tensorad, as a package that a reader installs and opens.

Nothing is here yet but the version: the tutorials are still to be written.
"""

__version__ = "0.1.0"
