"""The manual pages and the shells' completions name exactly what the program takes: a command or option that only the help
knows is found here. The shells are asked, each by its own means, what they would offer."""
import os
import pty
import re
import select
import subprocess
import time

from lintel_test import *  # noqa: F403


def lintel(*arguments):
    return subprocess.run([LINTEL, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          check=True).stdout


def help_tree(*path):
    """[(command path, [options], [subcommands])] of the help of `path` and all below it."""
    text = lintel(*path, "--help")
    options = [name for line in re.findall(r"(?m)^  (-\S+)", text) for name in line.split(",")]
    section = re.search(r"(?ms)^Subcommands:\n(.*?)(\n\n|\Z)", text)
    commands = re.findall(r"(?m)^  ([a-z]\S*)", section.group(1)) if section else []
    tree = [(path, options, commands)]
    for command in commands:
        tree += help_tree(*path, command)
    return tree


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="lintel-manual-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.tree = help_tree()
        for name, command in {"lintel.1": ["man", "lintel"], "lintel.toml.5": ["man", "lintel.toml"],
                              "lintel.bash": ["completions", "bash"], "_lintel": ["completions", "zsh"],
                              "lintel.fish": ["completions", "fish"]}.items():
            (cls.folder / name).write_text(lintel(*command))

    def rendered(self, page):
        """As a terminal shows it, in one line; a warning of the formatter is an error."""
        done = subprocess.run(["man", "--warnings", "-P", "cat", "-l", str(self.folder / page)], capture_output=True,
                              text=True, timeout=60, env={"MANWIDTH": "400", "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"],
                                                          "MAN_KEEP_FORMATTING": "", "MANPAGER": "cat"})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return " ".join(re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout).replace("‐", "-").split())

    def test_help_tree_was_understood(self):
        paths = {" ".join(path) for path, _, _ in self.tree}
        self.assertLessEqual({"", "dev", "serve", "trust install", "cert new", "service status"}, paths)
        self.assertIn("--config", next(options for path, options, _ in self.tree if path == ("check",)))

    def test_page_of_the_commands_has_all_of_the_help(self):
        text = self.rendered("lintel.1")
        begins = [m.start() for m in re.finditer(r" lintel [a-z]", text)]
        self.assertGreater(len(begins), len(self.tree))
        source = (self.folder / "lintel.1").read_text()
        sections = dict(re.findall(r"(?ms)^\.SS (lintel[a-z ]*[a-z])(?: .*?)?\n(.*?)(?=^\.S[SH])", source))
        for path, options, _ in self.tree:
            name = " ".join(("lintel", *path))
            with self.subTest(name):
                section = sections[name] if path else source
                for option in set(options) - {"-h", "--help"}:
                    self.assertIn("\\fB" + option.replace("-", "\\-") + "\\fR", section)

    def test_page_of_the_configuration_has_all_of_the_document(self):
        text = self.rendered("lintel.toml.5")
        document = (ROOT / "docs/configuration.md").read_text()
        rows = re.findall(r"(?m)^\| `(\w+)` \| ([^|]*) \| (.*?) \| `(.*?)` \| [a-z ]+ \| (.*) \|$", document)
        self.assertGreater(len(rows), 50)
        for key, kind, default, example, _ in rows:
            with self.subTest(key):
                self.assertIn(f"{key} ({kind}; ", text)
                self.assertIn(f"Example: {' '.join(example.split())}", text)
        for heading in re.findall(r"(?m)^##+ `?(.*?)`?$", document):
            self.assertIn(heading.replace("`", ""), text)
        self.assertNotIn("**", text)
        self.assertNotIn("](", text)

    def offered_by_bash(self, *words):
        script = ('source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lintel; printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "--norc", "-uc", script, str(self.folder / "lintel.bash"), *words],
                              capture_output=True, text=True, timeout=60, cwd=self.folder)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return set(done.stdout.split())

    def test_bash_offers_all_of_the_help_and_nothing_else(self):
        for path, options, commands in self.tree:
            with self.subTest(path):
                self.assertEqual(self.offered_by_bash("lintel", *path, "-"), set(options))
                if commands:
                    self.assertEqual(self.offered_by_bash("lintel", *path, ""), set(commands))

    def test_bash_offers_values_and_files(self):
        self.assertEqual(self.offered_by_bash("lintel", "cert", "new", "--key", ""), {"ecdsa", "rsa"})
        self.assertEqual(self.offered_by_bash("lintel", "cert", "new", "--key", "=", "r"), {"rsa"})
        self.assertEqual(self.offered_by_bash("lintel", "check", "-c", "lintel.t"), {"lintel.toml.5"})
        self.assertLessEqual({"cloudflare", "heroku"}, self.offered_by_bash("lintel", "dev", "--simulate", ""))
        self.assertIn("python3", self.offered_by_bash("lintel", "dev", "--", "python"))
        self.assertEqual(self.offered_by_bash("lintel", "dev", "--name", ""), set())

    def offered_by_fish(self, line):
        done = subprocess.run(["fish", "--no-config", "-c", f"source {self.folder}/lintel.fish; complete -C '{line}'"],
                              capture_output=True, text=True, timeout=60, cwd=self.folder,
                              env={"HOME": str(self.folder), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return {line.split("\t")[0] for line in done.stdout.splitlines()}

    def test_fish_offers_all_of_the_help_and_nothing_else(self):
        for path, options, commands in self.tree:
            with self.subTest(path):
                line = " ".join(("lintel", *path))
                long = {option for option in options if option.startswith("--")}
                self.assertEqual(self.offered_by_fish(f"{line} --"), long)
                if commands:
                    self.assertEqual(self.offered_by_fish(f"{line} "), set(commands))

    def test_fish_offers_values_and_files(self):
        self.assertEqual(self.offered_by_fish("lintel cert new --key "), {"ecdsa", "rsa"})
        self.assertEqual(self.offered_by_fish("lintel check -c lintel.t"), {"lintel.toml.5"})

    def offered_by_zsh(self, line, *expected):
        """What an interactive zsh shows after `line` and two tabs, waiting until `expected` is there."""
        child, terminal = pty.fork()
        if child == 0:
            os.environ.update(HOME=str(self.folder), TERM="dumb", LC_ALL="C.UTF-8", COLUMNS="200", LINES="100")
            os.chdir(self.folder)
            os.execvp("zsh", ["zsh", "-f", "-i"])
        try:
            shown = ""

            def read_until(words, seconds=60):
                nonlocal shown
                deadline = time.monotonic() + seconds
                while not all(word in shown for word in words):
                    if time.monotonic() > deadline or not select.select([terminal], [], [], seconds)[0]:
                        raise AssertionError(f"zsh did not offer {words} for {line!r}: {shown!r}")
                    shown += os.read(terminal, 65536).decode(errors="replace")
            os.write(terminal, b"PROMPT='ready''> '; stty cols 200 rows 100; fpath=($PWD $fpath); autoload -Uz compinit; "
                               b"compinit -D -u; LISTMAX=1000; setopt AUTO_LIST\n")
            read_until(["ready>"])
            shown = ""
            os.write(terminal, line.encode() + b"\t\t")
            read_until(expected)
            return shown
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(terminal)

    def test_zsh_offers_commands_options_and_values(self):
        top = next(commands for path, _, commands in self.tree if path == ())
        self.offered_by_zsh("lintel ", *top)
        self.offered_by_zsh("lintel trust ", "install", "uninstall", "status")
        new = next(options for path, options, _ in self.tree if path == ("cert", "new"))
        self.offered_by_zsh("lintel cert new --", *(option for option in new if option.startswith("--")))
        self.offered_by_zsh("lintel cert new --key ", "ecdsa", "rsa")
        self.assertNotIn("--simulate", self.offered_by_zsh("lintel serve --", "--certificate"))

    def test_zsh_has_every_command_and_option(self):
        text = (self.folder / "_lintel").read_text()
        for path, options, commands in self.tree:
            name = "_" + "_".join(("lintel", *path)).replace("-", "_")
            body = re.search(rf"(?ms)^{name}\(\) \{{\n(.*?)^\}}$", text).group(1)
            for option in options:
                self.assertRegex(body, rf"'\*?{option}\[")
            for command in commands:
                self.assertIn(f"\n    '{command}:", body)


if __name__ == "__main__":
    unittest.main()
