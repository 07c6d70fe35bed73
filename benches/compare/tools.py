"""What is run: asof and the maker of data, built by cargo, and the other tools, installed once into environments of their own."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent


@dataclass
class Tools:
    asof: Path
    maker: Path
    python: Path
    dbt: Path
    wheel: Callable[[], Path]

    def script(self, name: str, *arguments: object) -> list[str]:
        return [str(self.python), str(HERE / "peers" / name), *map(str, arguments)]

    def dbt_script(self, name: str, *arguments: object) -> list[str]:
        """As `script`, with the DuckDB that dbt uses."""
        return [str(self.dbt.parent / "python"), str(HERE / "peers" / name), *map(str, arguments)]

    def frame_script(self, name: str, *arguments: object) -> list[str]:
        """As `script`, with the module asof."""
        return [str(self.wheel()), str(HERE / "peers" / name), *map(str, arguments)]

    def versions(self) -> dict[str, str]:
        """Of each tool, the version that is used."""
        versions = {"asof": output(self.asof, "--version").split()[-1], "Python": output(self.python, "--version").split()[-1]}
        wanted = {self.python: ["polars", "duckdb", "pyarrow"], self.dbt.parent / "python": ["dbt-core", "dbt-duckdb"]}
        for python, names in wanted.items():
            installed = json.loads(output(python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"))
            versions |= {package["name"]: package["version"] for package in installed if package["name"] in names}
        return versions


def prepare(cache: Path, asof: Path | None, is_release: bool) -> Tools:
    """Builds and installs what is not there yet; `asof` is a program to measure instead of this checkout's."""
    built = build(["compare"] if asof else ["compare", "asof"], is_release)
    python = environment(cache / "peers", HERE / "requirements.txt")
    dbt = environment(cache / "dbt", HERE / "requirements-dbt.txt")
    wheel = functools.cache(lambda: wheel_environment(cache / "wheel", is_release))
    return Tools((asof or built["asof"]).resolve(), built["compare"], python, dbt.parent / "dbt", wheel)


def build(names: list[str], is_release: bool) -> dict[str, Path]:
    """Returns where each program is."""
    print(f"building {', '.join(names)}", flush=True)
    wanted = [argument for name in names for argument in (["--bin", name] if name == "asof" else ["--bench", name])]
    command = ["cargo", "build", *(["--release"] if is_release else []), "--locked", "--message-format=json-render-diagnostics", *wanted]
    result = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True)
    messages = [json.loads(line) for line in result.stdout.splitlines()]
    return {message["target"]["name"]: Path(message["executable"]) for message in messages if message.get("executable")}


def wheel_environment(folder: Path, is_release: bool) -> Path:
    """The Python of a virtual environment with this checkout's module asof."""
    python = environment(folder, HERE / "requirements-wheel.txt")
    print("building the wheel", flush=True)
    shutil.rmtree(folder / "dist", ignore_errors=True)
    profile = "release" if is_release else "dev"
    build = ["build", "--quiet", "--locked", "--profile", profile, "--auditwheel", "skip", "--interpreter", python]
    project = ["--manifest-path", CHECKOUT / "python/Cargo.toml", "--out", folder / "dist"]
    subprocess.run([folder / "bin/maturin", *build, *project], check=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--force-reinstall"]
    subprocess.run([python, *install, *(folder / "dist").glob("*.whl")], check=True)
    return python


def environment(folder: Path, requirements: Path) -> Path:
    """The Python of a virtual environment with these packages."""
    python = folder / "bin/python"
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        print(f"installing {requirements.name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]
        subprocess.run([python, *install, requirements], check=True)
        stamp.write_text(requirements.read_text())
    return python


def output(*command: object) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout.strip()
