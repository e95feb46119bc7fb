"""Is the environment whose Python runs this still what scripts/setup.sh made?

Usage: .venv/bin/python -I scripts/check_venv.py packages|config

`packages`: every package pinned in requirements.txt is installed at that version, each of its files is there with
the size it was installed with, and its commands start this environment's Python (they do not once the folder moved).
`config`: the file that libvsscript reads knows this environment, its interpreter and its libpython.

Prints what is wrong and exits with 1, or prints nothing. It runs before every build, so it reads no file's content
but the lists of files, and imports nothing slow.
"""

import csv
import os
import sys
from pathlib import Path

SITE_PACKAGES = Path(sys.prefix, "lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")


def pinned() -> list[tuple[str, str]]:
    """Names and versions from requirements.txt, names as directories spell them."""
    lines = Path(__file__).with_name("requirements.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return [(name.strip().replace("-", "_"), version.strip()) for name, version in pins]


def fault_in_package(name: str, version: str) -> str | None:
    # For a package that calls itself 22.0, pip takes ==22 as well.
    records = [SITE_PACKAGES / f"{name}-{version}{zeros}.dist-info" / "RECORD" for zeros in ("", ".0", ".0.0")]
    record = next(filter(Path.is_file, records), None)
    if record is None:
        return f"{name} {version} is not installed"
    with record.open(newline="") as rows:
        for path, _, size in csv.reader(rows):
            file = SITE_PACKAGES / path
            if size and not (file.is_file() and file.stat().st_size == int(size)):
                return f"{os.path.normpath(file)} is missing or damaged"
    return None


def fault_in_packages() -> str | None:
    for name, version in pinned():
        if fault := fault_in_package(name, version):
            return fault
    with open(Path(sys.prefix, "bin", "vspipe")) as command:
        # The path is in the first line, or in the second where it is too long or has spaces.
        if f"{sys.prefix}/bin/" not in command.read(4096):
            return f"{sys.prefix} was moved here from somewhere else"
    return None


def fault_in_config() -> str | None:
    import tomllib

    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    file = Path(home, "vapoursynth", "vapoursynth.toml")
    vsscript = str(SITE_PACKAGES / "vapoursynth" / "libvsscript.so").replace("/lib64/", "/lib/")
    try:
        entries = tomllib.loads(file.read_text())
    except (OSError, ValueError):
        return f"{file} is missing or unreadable"
    if vsscript not in entries:
        return f"{file} has no entry for {vsscript}"
    interpreter, libpython, modified = entries[vsscript]
    if not (os.path.isfile(interpreter) and os.path.isfile(libpython)):
        return f"{file} names {interpreter} and {libpython}, and one of them is gone"
    if int(os.stat(interpreter).st_mtime) != int(modified):
        return f"{interpreter} changed since {file} was written"
    return None


if __name__ == "__main__":
    sys.exit({"packages": fault_in_packages, "config": fault_in_config}[sys.argv[1]]())
