"""`pip install ./python` builds the package lintel_forwarded from the sources, without a network."""
from lintel_test import *


class PipInstall(unittest.TestCase):
    def test_pip_builds_and_installs_the_package_offline(self):
        """From the sources alone, with the system's compiler (g++), setuptools and wheel."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        self.addCleanup(shutil.rmtree, folder, True)
        copy, target = folder / "sources", folder / "installed"
        for part in ("python", "library", "cmake", "data/ranges", "src/base", "src/forwarded"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
        shutil.copy(ROOT / "CMakeLists.txt", copy)
        environment = dict(os.environ, CCACHE_BASEDIR=str(folder), CCACHE_NOHASHDIR="1")
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(["/usr/bin/python3", "-m", "pip", "install", "--no-build-isolation", "--no-index", "--no-deps",
                               "--disable-pip-version-check", "--root-user-action=ignore", "--target", str(target),
                               str(copy / "python")], env=environment, capture_output=True, text=True, timeout=400)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr[-3000:])
        script = ("import lintel_forwarded as lf; fix = lf.Fix(['10.0.0.0/8']); print(lf.__file__); "
                  "print(fix.apply([b'10.0.0.2', b'', b'http', b'app.test', b'', b'', b''], "
                  "[(b'X-Forwarded-For', b'203.0.113.9')]).remote_addr)")
        output = subprocess.run(["/usr/bin/python3", "-c", script], env=dict(environment, PYTHONPATH=str(target)),
                                capture_output=True, text=True, timeout=60)
        self.assertEqual(output.stdout.split(), [str(target / "lintel_forwarded/__init__.py"), "203.0.113.9"], output.stderr)


if __name__ == "__main__":
    unittest.main()
