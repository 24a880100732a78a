"""What can be saved to a file: each thing to be looked at knows in which forms."""

import json
from collections.abc import Callable
from pathlib import Path

from tensorad.errors import ArgumentError
from tensorad.notebook import Shown, page


class Saved(Shown):
    """What can be saved to a file, in the form that the file's name asks for."""

    def save(self, path: str | Path) -> Path:
        """Write it to a file: `.html` is a page that stands alone, `.json` the data, `.txt` the text.

        A graph can also be `.svg`, a picture, `.dot`, for Graphviz, or `.mmd`, for Mermaid; the flow of a gradient is
        `.png`, `.svg` or `.pdf`, and no page; a derivation also `.tex`.

        Args:
            path: the name of the file; its ending says which form.

        Returns:
            The path.

        Raises:
            ArgumentError: for another ending.
            MissingPackageError: if a form needs a package that is not installed.
        """
        path, forms = Path(path), self._forms()
        ending = path.suffix.lower()
        if ending not in forms:
            raise ArgumentError(f"it can be saved as {', '.join(sorted(forms))}, and not as {path.name!r}")
        made = forms[ending]()
        path.write_bytes(made if isinstance(made, bytes) else made.encode())
        return path

    def _forms(self) -> dict[str, Callable[[], str | bytes]]:
        """What makes a file, by the ending of its name."""
        return {".html": lambda: page(self.trace()), ".json": lambda: json.dumps(self.trace()), ".txt": self.__repr__}
