"""IPython and Jupyter support for tensorad: the home of its magics and rich display.

Nothing is here yet but the version: the package stands so that `tensorad[ipython]` has something to name.
"""

__version__ = "0.1.0"
