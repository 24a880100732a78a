"""Puts the judges (oracle.py) where every test finds them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
