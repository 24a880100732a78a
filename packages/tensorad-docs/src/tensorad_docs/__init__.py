"""The executable tutorials of tensorad, as a package that a reader installs and opens; and what makes the site of them.

`python -m tensorad_docs` lists the tutorials, `python -m tensorad_docs open` copies them out and opens JupyterLab.
"""

__version__ = "0.1.0"
