"""The installed CMake package: it is found, the examples for Boost.Beast, cpp-httplib, any other server and C build
against it with clang and with g++, and the servers know their client. 127.0.0.1 is trusted there, 127.0.0.2 is not."""
import re

from lintel_test import *

BUILD = pathlib.Path(LINTEL).parent
C, E = "203.0.113.9", "6.6.6.6"


class InstalledPackage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.prefix = cls.folder / "prefix"
        cls.run_tool("cmake", "--install", BUILD, "--component", "lintel-forwarded", "--prefix", cls.prefix)

    @classmethod
    def run_tool(cls, *command):
        # With the base folder the compiler cache also hits in the next run's temporary folder.
        environment = dict(os.environ, CCACHE_BASEDIR=str(cls.folder), CCACHE_NOHASHDIR="1")
        done = subprocess.run([str(word) for word in command], env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=300)
        if done.returncode != 0:
            raise AssertionError(f"{command}:\n{done.stdout[-4000:]}")
        return done.stdout

    def build(self, example, compiler, program="server"):
        language, flags = ("C", "-std=c99 -pedantic") if example == "library-c" else ("CXX", "")
        build = self.folder / f"{example}-{compiler}"
        options = [f"-DCMAKE_{language}_COMPILER={compiler}", f"-DCMAKE_PREFIX_PATH={self.prefix}", "-G", "Ninja",
                   f"-DCMAKE_{language}_FLAGS=-O0 -Wall -Wextra -Werror {flags}"]
        if shutil.which("ccache"):
            options.append(f"-DCMAKE_{language}_COMPILER_LAUNCHER=ccache")
        self.run_tool("cmake", "-S", ROOT / "examples" / example, "-B", build, *options)
        self.run_tool("cmake", "--build", build)
        return build / program

    def check_server(self, program):
        port = free_port()
        process = subprocess.Popen([program, str(port)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(end_process, process)
        self.assertEqual(process.stdout.readline().decode().strip(), f"listening on {port}")

        def ready():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        wait_until(ready, f"{program} to listen")

        def ask(headers, source="127.0.0.1", host="app.example"):
            with RawClient(port, source=source) as client:
                return client.request(get("/", headers=headers, host=host))

        def assert_seen(response, client, scheme="http", authority="app.example"):
            wanted = f"client={client} scheme={scheme} authority={authority} x-forwarded-for={client}\n"
            self.assertEqual((response.status, response.body.decode()), (200, wanted))

        forged = [("X-Forwarded-For", E), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.example"),
                  ("X_Forwarded_For", E), ("Forwarded", f"for={E}"), ("X-Forwarded-For", "bogus!")]
        assert_seen(ask([], "127.0.0.2"), "127.0.0.2")
        assert_seen(ask(forged, "127.0.0.2"), "127.0.0.2")
        assert_seen(ask([]), "127.0.0.1")
        assert_seen(ask([("X-Forwarded-For", f"{E}, {C}"), ("X-Forwarded-Proto", "https"), ("X_Forwarded_For", E)]), C,
                    "https")
        assert_seen(ask([("x-forwarded-for", E), ("X-Forwarded-For", C), ("X-Forwarded-Host", "www.App.example")]), C,
                    authority="www.app.example")
        for headers, host, status, code in (([("X-Forwarded-For", "bogus!")], "app.example", 400, "forwarded-garbage"),
                                            ([("X-Forwarded-Proto", "ftp")], "app.example", 400, "forwarded-garbage"),
                                            ([("X-Forwarded-Host", "evil.ex")], "app.example", 421, "host-not-served"),
                                            ([], "evil.example", 421, "host-not-served"),
                                            ([("Host", "app.example")], "app.example", 400, "host-duplicate")):
            response = ask(headers, host=host)
            self.assertEqual((response.status, response.error), (status, code), (headers, host))

    def test_callback_server(self):
        for compiler in ("clang++-19", "g++"):
            self.check_server(self.build("library-callback", compiler))

    def test_cpp_httplib_server(self):
        self.check_server(self.build("library-httplib", "g++"))

    def test_boost_beast_server(self):
        self.check_server(self.build("library-beast", "clang++-19"))

    def test_c_program(self):
        program = self.build("library-c", "clang-19", "identify")
        for arguments, wanted in (
                (["127.0.0.1", "app.example", "X-Forwarded-For", C, "X-Forwarded-Proto", "https"],
                 f"client={C} scheme=https authority=app.example"),
                (["198.51.100.7", "app.example", "X-Forwarded-For", E], "client=198.51.100.7 scheme=http authority=app.example"),
                (["127.0.0.1", "app.example", "X-Forwarded-For", "bogus!"], "400 forwarded-garbage"),
                (["127.0.0.1", "evil.example"], "421 host-not-served"),
                (["not an address", "app.example"], "500 usage")):
            done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True, timeout=60)
            self.assertEqual(done.stdout.strip(), wanted)

    def test_the_shared_library_exports_its_interface_and_nothing_else(self):
        """A program that loads it may have another version of anything else that it holds."""
        library = next((self.prefix / "lib").rglob("liblintel_forwarded.so"))
        symbols = self.run_tool("nm", "-D", "--defined-only", library).split()[2::3]
        header = (self.prefix / "include/lintel_forwarded.h").read_text()
        declared = set(re.findall(r"\b(lintel_forwarded_\w+)\(", header))
        self.assertEqual(set(symbols), declared)

    def test_nothing_else_is_installed(self):
        installed = {str(path.relative_to(self.prefix)) for path in self.prefix.rglob("*") if path.is_file()}
        unknown = {name for name in installed
                   if not re.fullmatch(r"include/(lintel_forwarded\.h|lintel/(base|forwarded|forwarded/adapters)/\w+\.h)|"
                                       r"lib(/[\w-]+)?/(cmake/lintel-forwarded/[\w-]+\.cmake|"
                                       r"lib(lintel-forwarded\.a|lintel_forwarded\.so(\.\d+)*))", name)}
        self.assertEqual(unknown, set())


if __name__ == "__main__":
    unittest.main()
