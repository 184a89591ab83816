"""Files and folders that are whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`, creating its folder; a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replace_folder(folder: Path, mark: str) -> Iterator[Path]:
    """A temporary folder to fill; when the block ends well it takes the place of `folder`, and is gone if not.

    Args:
        folder: where the result goes.
        mark: a file that an earlier result holds; a folder with other content is not overwritten.

    Raises:
        FileExistsError: `folder` holds something that is not an earlier result.
    """
    check_replaceable(folder, mark)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
    try:
        yield partial
        partial.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_replaceable(folder: Path, mark: str) -> None:
    """Raises FileExistsError where `replace_folder` would."""
    if folder.exists() and not (folder / mark).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and holds no {mark}: choose another folder, or remove it first.")


def slug(name: str) -> str:
    """A name as part of a path or a link: "payload +60%" as "payload-plus60", "wind 8 m/s" as "wind-8-m-s"."""
    spelled = name.replace("+", "plus").replace(" -", " minus").replace("%", "")
    return re.sub(r"[^A-Za-z0-9.]+", "-", spelled).strip("-.") or "scenario"
