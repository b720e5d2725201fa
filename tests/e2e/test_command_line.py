"""Command lines that people get wrong, or try because other programs have them. Each answer must name what was wrong and
what to write instead, or a newcomer is stuck at the first step."""
import subprocess
import unittest

from lintel_test import *  # noqa: F403

# arguments: what the one line on stderr must say
WRONG = {
    "": "a command is missing; 'lintel --help' lists them",
    "serv -c lintel.toml": 'there is no command "serv"; did you mean "serve"?',
    "help serv": 'there is no command "serv"; did you mean "serve"?',
    "trust": "trust: a command is missing; 'lintel trust --help' lists them",
    "trust instal": 'trust: there is no command "instal"; did you mean "install"?',
    "doctor --fro heroku 5000": 'doctor: there is no option --fro; did you mean "--for"?; see \'lintel doctor --help\'',
    "resolve --per 10.0.0.1": 'there is no option --per; did you mean "--peer"?',
    "resolve": "--peer is required; see 'lintel resolve --help'",
    "dev python3 app.py": "lintel dev -- python3 app.py",
    "dev flask": "lintel dev -- python3 app.py",
    "check lintel.toml": "lintel check -c lintel.toml",
    "serve lintel.toml": "lintel serve -c lintel.toml",
    "serve --to 127.0.0.1:8000": "serve --to needs HOST",
    "serve app.test --to 127.0.0.1:8000 --https 8443": 'a port alone is written ":8443"',
}


def lintel(*arguments):
    return subprocess.run([LINTEL, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


class CommandLine(unittest.TestCase):
    def test_a_wrong_command_line_is_exit_code_2_and_one_line_that_says_what_to_write(self):
        for arguments, expected in WRONG.items():
            with self.subTest(arguments):
                done = lintel(*arguments.split())
                self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
                self.assertIn(expected, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_control_octets_of_an_argument_do_not_reach_the_terminal(self):
        for arguments in (["\x1b[2Jserve"], ["doctor", "--\x1b[2J"], ["check", "\x1b[2J"]):
            with self.subTest(arguments):
                self.assertNotIn("\x1b", lintel(*arguments).stderr)

    def test_version_is_an_option_too(self):
        said = lintel("version").stdout
        self.assertRegex(said, r"^lintel [0-9.]+ \(OpenSSL ")
        self.assertEqual(lintel("--version").stdout, said)
        self.assertEqual(lintel("-V").stdout, said)

    def test_help_is_a_command_too(self):
        self.assertEqual(lintel("help").stdout, lintel("--help").stdout)
        for command in ("dev", "serve", "doctor", "resolve", "cert new", "trust install"):
            with self.subTest(command):
                done = lintel("help", *command.split())
                self.assertEqual(done.returncode, 0)
                self.assertEqual(done.stdout, lintel(*command.split(), "--help").stdout)


if __name__ == "__main__":
    unittest.main()
