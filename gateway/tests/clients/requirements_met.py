"""Ends well if everything that requirements.txt pins is installed at its version; else says what is not."""

import importlib.metadata
import pathlib
import sys


def missing() -> list[str]:
    wanted = pathlib.Path(__file__).with_name("requirements.txt").read_text().splitlines()
    pins = [line.split("==") for line in wanted if "==" in line]
    return [f"{name} {version}" for name, version in pins if installed(name) != version]


def installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


absent = missing()
if absent:
    more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
    print(absent[0] + more)
sys.exit(bool(absent))
