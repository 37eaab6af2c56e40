"""Starts the programs of llama-finetuning on the libtorch of the PyTorch beside it. Imports nothing of PyTorch."""

import importlib.util
import os
import re
import sys
from pathlib import Path

TORCH = "2.11.0"
HOME = Path(__file__).resolve().parent


def torch_dir():
    """The directory of PyTorch; ends the program where there is none, or another version."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"error: PyTorch is not installed: pip install torch=={TORCH}")
    torch = Path(list(spec.submodule_search_locations)[0])
    text = (torch / "version.py").read_text(encoding="utf-8")
    found = re.search(r"__version__\s*=\s*['\"]([^'\"]+)", text)
    version = found.group(1) if found else "of an unknown version"
    if version.split("+")[0] != TORCH:
        sys.exit(f"error: PyTorch is {version}; these programs run on {TORCH}: pip install torch=={TORCH}")
    return torch


def main():
    """Becomes the program that the script in `sys.argv[0]` is named for."""
    name = Path(sys.argv[0]).name
    torch = torch_dir()
    environment = dict(os.environ)
    if torch.parent.resolve() != HOME.parent:
        # The programs look beside themselves; PyTorch is installed elsewhere.
        paths = [str(torch / "lib"), environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(path for path in paths if path)
    os.execve(HOME / "bin" / "llama-ft", [name, *sys.argv[1:]], environment)
