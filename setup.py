"""Builds the wheel: with the engine where it can be built, as a pure wheel elsewhere (see PY_EACOPY_BUILD).

What pyproject.toml can say is said there. Here is what depends on the machine: CMake, the extension, and the
requirements that only a wheel with the extension has.
"""

import atexit
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import List

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

import build_backend  # noqa: E402

# The binding uses the stable ABI of 3.8, so that one wheel serves every later Python. Debug and free-threaded builds
# have no stable ABI, and PyPy has none at all.
STABLE_ABI = (
    sys.implementation.name == "cpython" and not build_backend.FREE_THREADED and not hasattr(sys, "gettotalrefcount")
)


class BuildNative(build_ext):
    """Has cffi write the binding's source and CMake compile it together with the engine."""

    def build_extension(self, extension: Extension) -> None:
        output = Path(self.get_ext_fullpath(extension.name)).resolve()
        work = Path(self.build_temp).resolve() / "engine"
        work.mkdir(parents=True, exist_ok=True)
        output.parent.mkdir(parents=True, exist_ok=True)
        source = work / "_native.c"
        try:
            run([sys.executable, str(ROOT / "build_ffi.py"), str(source)])
            run(["cmake", "-S", str(ROOT / "native"), "-B", str(work), *self.cmake_options(source, output)])
            run(["cmake", "--build", str(work), "--config", "Release", "--parallel", str(os.cpu_count() or 1)])
        except (OSError, subprocess.CalledProcessError) as error:
            raise CompileError(f"the engine could not be built: {error}") from error

    def cmake_options(self, source: Path, output: Path) -> List[str]:
        options = {
            "CMAKE_BUILD_TYPE": "Release",
            "EACOPY_BUILD_TESTS": "OFF",
            "EACOPY_BINDING_SOURCE": source.as_posix(),
            "EACOPY_BINDING_OUTPUT": output.as_posix(),
            "EACOPY_BINDING_DEFINITION": "Py_LIMITED_API=0x03080000" if STABLE_ABI else "_CFFI_NO_LIMITED_API",
            "EACOPY_PYTHON_INCLUDE": Path(sysconfig.get_path("include")).as_posix(),
        }
        if sys.platform == "darwin":
            # "macosx-11.0-universal2": the oldest system and the machines this Python was built for.
            _, system, machine = sysconfig.get_platform().split("-", 2)
            asked = re.findall(r"-arch\s+(\S+)", os.environ.get("ARCHFLAGS", ""))
            both = ["x86_64", "arm64"] if machine == "universal2" else [machine]
            options["CMAKE_OSX_ARCHITECTURES"] = ";".join(asked or both)
            options["CMAKE_OSX_DEPLOYMENT_TARGET"] = os.environ.get("MACOSX_DEPLOYMENT_TARGET", system)
        if sys.platform == "win32":
            options["EACOPY_PYTHON_LIBRARIES"] = (Path(sys.base_prefix) / "libs").as_posix()
        return [*self.generator(), *(f"-D{name}={value}" for name, value in options.items())]

    def generator(self) -> List[str]:
        if os.environ.get("CMAKE_GENERATOR"):
            return []
        if sys.platform == "win32" and not shutil.which("cl") and not shutil.which("g++"):
            # Visual Studio, found by CMake, builds for the machine it runs on unless told otherwise.
            return ["-A", {"win32": "Win32", "win-arm64": "ARM64"}.get(sysconfig.get_platform(), "x64")]
        return ["-G", "Ninja"] if shutil.which("ninja") else []


def run(command: List[str]) -> None:
    print("+", " ".join(command), flush=True)
    subprocess.run(command, check=True)


def build(native: bool) -> None:
    # A fresh directory for each build: one left behind in the tree would put files that no longer exist into the wheel,
    # and its CMake cache would name tools of a build environment that is gone.
    base = tempfile.mkdtemp(prefix="py-eacopy-build-")
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    options = {"build": {"build_base": base}}
    if native and STABLE_ABI:
        options["bdist_wheel"] = {"py_limited_api": "cp38"}
    extension = Extension("py_eacopy._native", sources=[], py_limited_api=STABLE_ABI)
    setup(
        license="BSD-3-Clause",
        install_requires=build_backend.dependencies(native),
        ext_modules=[extension] if native else [],
        cmdclass={"build_ext": BuildNative},
        options=options,
    )


def main() -> None:
    reason = build_backend.reason_for_portable()
    if reason is None:
        try:
            build(native=True)
            return
        except (SystemExit, Exception) as error:
            if build_backend.build_mode() == "native":
                raise
            reason = str(error)
    print(f"py-eacopy is built without its engine ({reason}); it copies with its portable backend.", flush=True)
    build(native=False)


main()
