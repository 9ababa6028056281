"""Prints the licences of all crates that are built into the program for a target, each text once.

    deploy/release/third_party.py TARGET
"""

import json
import re
import subprocess
import sys
from pathlib import Path

LICENCE = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)


def built_in(metadata):
    """The packages that the program is linked from: no tests' and no build scripts' dependencies."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    seen, waiting = {root}, [root]
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if normal and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    packages = [package for package in metadata["packages"] if package["id"] in seen - {root}]
    return sorted(packages, key=lambda package: (package["name"], package["version"]))


def texts(package):
    """The licence files of a crate, and of C sources one folder down."""
    folder = Path(package["manifest_path"]).parent
    files = [*folder.glob("*"), *folder.glob("*/*"), *folder.glob("c_src/*/*")]
    found = sorted({file for file in files if LICENCE.match(file.name) and file.is_file() and file.suffix != ".rs"})
    return [file.read_text(errors="replace").strip() for file in found]


def main():
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", sys.argv[1]]
    packages = built_in(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    users = {}
    print("Tidegate contains these crates:\n")
    for package in packages:
        found = texts(package)
        print(f"{package['name']} {package['version']}: {package['license']}" + ("" if found else " (without a text of its own)"))
        for text in found:
            users.setdefault(text, []).append(f"{package['name']} {package['version']}")
    for text, names in users.items():
        print(f"\n{'=' * 80}\n{', '.join(names)}\n\n{text}")


main()
