"""The build backend: that of setuptools, but cffi and CMake are asked for only where they can serve.

A requirement named in pyproject.toml that cannot be installed would end the build before any fall-back. So this
file looks first whether the engine can be built here at all; setup.py asks it the same questions.
"""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from typing import Any, Dict, List, Optional, Tuple

from setuptools.build_meta import *  # noqa: F403  (a backend offers its hooks as module attributes)

BUILD_MODES = ("auto", "native", "portable")
CMAKE_MINIMUM = (3, 15)
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

# Where cffi and CMake are published ready-made. Elsewhere they count only when the machine has them.
_WHEEL_MACHINES = {
    "linux": ("x86_64", "i686", "aarch64", "ppc64le", "s390x"),
    "darwin": ("x86_64", "arm64"),
    "win32": ("amd64", "x86", "arm64"),
}
_NEWEST_PYTHON_WITH_WHEELS = (3, 14)


def build_mode() -> str:
    """The value of PY_EACOPY_BUILD: "auto" (default), "native" (the engine or an error) or "portable" (no engine)."""
    mode = os.environ.get("PY_EACOPY_BUILD") or "auto"
    if mode not in BUILD_MODES:
        raise SystemExit(f"PY_EACOPY_BUILD={mode!r} is not known; legal values are: {', '.join(BUILD_MODES)}")
    return mode


def obstacle() -> Optional[str]:
    """What keeps the engine from being built here, and the remedy; None when nothing does."""
    if FREE_THREADED and sys.version_info < (3, 14):
        return "cffi has no support for free-threaded Python before 3.14; use 3.14t or the usual build of this version"
    compiler = cxx_compiler()
    if compiler is None:
        return "no C++ compiler was found; install g++ or clang++ (Windows: Visual Studio Build Tools) or set CXX"
    if not _has_header("Python.h"):
        return "Python.h was not found; install the header package of this Python (Debian: python3-dev)"
    if not _cffi_can_serve():
        return "cffi has no ready-made package for this Python, and ffi.h was not found; install cffi or libffi-dev"
    if not _cmake_is_there() and not _is_wheel_platform():
        return f"CMake {_dotted(CMAKE_MINIMUM)} or later was not found, and PyPI has none for this machine; install it"
    return None


def reason_for_portable() -> Optional[str]:
    """Why this build leaves the engine out; None: it is to be built. Asked at each step of a build, answered alike."""
    mode = build_mode()
    if mode == "portable":
        return "PY_EACOPY_BUILD=portable"
    reason = obstacle()
    if reason and mode == "native":
        raise SystemExit(f"PY_EACOPY_BUILD=native, but {reason}")
    return reason


def cxx_compiler() -> Optional[str]:
    """The C++ compiler that CMake would take, or what stands for it; None when there is none."""
    if os.environ.get("CXX"):
        return shutil.which(os.environ["CXX"].split()[0])
    for name in ("c++", "g++", "clang++", "cl"):
        found = shutil.which(name)
        if found:
            return found
    # Visual Studio's compiler is not on PATH; CMake asks this program where it is.
    installer = os.path.join(os.environ.get("PROGRAMFILES(X86)", ""), "Microsoft Visual Studio", "Installer")
    return shutil.which("vswhere", path=installer) if sys.platform == "win32" else None


def dependencies(native: bool) -> List[str]:
    """The run-time requirements of a wheel with or without the engine."""
    result = ["attrs>=21.3", "anyio>=3.7"]
    if native:
        result.append("cffi>=1.15; platform_python_implementation == 'CPython'")
    if _is_wheel_platform() or cxx_compiler():
        result.append("zstandard>=0.19; python_version < '3.9'")
        result.append("backports.zstd>=1.0; python_version >= '3.9' and python_version < '3.14'")
    return result


def get_requires_for_build_wheel(config_settings: Optional[Dict[str, Any]] = None) -> List[str]:
    if reason_for_portable():
        return []
    result = ["cffi>=2.0" if FREE_THREADED else "cffi>=1.15"]
    if not _cmake_is_there():
        result.append(f"cmake>={_dotted(CMAKE_MINIMUM)}")
    if sys.platform != "win32" and not any(map(shutil.which, ("ninja", "make", "gmake"))):
        result.append("ninja")
    return result


def get_requires_for_build_editable(config_settings: Optional[Dict[str, Any]] = None) -> List[str]:
    return get_requires_for_build_wheel(config_settings)


def get_requires_for_build_sdist(config_settings: Optional[Dict[str, Any]] = None) -> List[str]:
    return []


def _cffi_can_serve() -> bool:
    if importlib.util.find_spec("cffi") and importlib.util.find_spec("_cffi_backend"):
        return True
    if _is_wheel_platform() and sys.version_info[:2] <= _NEWEST_PYTHON_WITH_WHEELS:
        return True
    return _has_header("ffi.h")


def _is_wheel_platform() -> bool:
    return platform.machine().lower() in _WHEEL_MACHINES.get(sys.platform, ())


def _cmake_is_there() -> bool:
    cmake = shutil.which("cmake")
    if cmake is None:
        return False
    try:
        text = subprocess.run([cmake, "--version"], stdout=subprocess.PIPE, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        return False
    found = re.search(r"(\d+)\.(\d+)", text)
    return bool(found) and (int(found.group(1)), int(found.group(2))) >= CMAKE_MINIMUM


def _has_header(name: str) -> bool:
    """Whether the compiler finds and reads a header. Visual Studio's is believed without asking: it needs a set-up."""
    include = sysconfig.get_path("include")
    if sys.platform == "win32":
        return name != "Python.h" or os.path.exists(os.path.join(include, name))
    command = [*(os.environ.get("CXX") or cxx_compiler() or "c++").split(), f"-I{include}", "-E", "-x", "c++", "-"]
    source = f"#include <{name}>\n".encode()
    try:
        subprocess.run(command, input=source, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _dotted(version: Tuple[int, ...]) -> str:
    return ".".join(map(str, version))
