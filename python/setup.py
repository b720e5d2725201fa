"""Builds liblintel_forwarded.so with CMake from the sources beside this folder and puts it into the package.

Needs CMake 3.25 and a C++23 compiler (clang 19, g++ 12 or later; the environment variable CXX chooses).
"""
import pathlib
import re
import shutil
import subprocess

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent


class BuildWithLibrary(build_py):
    def run(self):
        super().run()
        build = pathlib.Path(self.get_finalized_command("build").build_temp).resolve() / "library"
        build.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cmake", "-S", str(ROOT / "library"), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release"], check=True)
        subprocess.run(["cmake", "--build", str(build), "--target", "lintel_forwarded_shared", "--parallel", "2"],
                       check=True)
        to = pathlib.Path(self.build_lib) / "lintel_forwarded"
        to.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(build / "liblintel_forwarded.so", to / "liblintel_forwarded.so")


class PlatformDistribution(Distribution):
    def has_ext_modules(self):  # a wheel for this platform only
        return True


version = re.search(r"project\(lintel VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text())[1]
setup(version=version, cmdclass={"build_py": BuildWithLibrary}, distclass=PlatformDistribution)
