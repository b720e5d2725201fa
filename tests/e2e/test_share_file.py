"""`lintel share -c share.toml`: several shares at once, through a real edge."""
from lintel_test import *
import test_edge_tokens


class ShareFile(test_edge_tokens.EdgeCase):
    def start(self, text):
        folder = self.enterContext(temp_folder())
        (folder / "token").write_text(self.token(folder.name.replace("lintel-e2e-", "t-")))
        (folder / "share.toml").write_text(
            f'edge = "{test_edge_tokens.DOMAIN}:{self.lintel.https}"\ntoken_file = "token"\n'
            f'ca_file = "{self.ca.cert}"\n' + text)
        agent = Lintel(["share", "-c", str(folder / "share.toml"), "--json"], folder,
                       env={"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)})
        self.addCleanup(agent.stop)
        return agent


    def test_two_shares_of_one_file_and_a_stop_that_ends_both(self):
        first, second = Origin(), Origin()
        self.addCleanup(first.stop)
        self.addCleanup(second.stop)
        first.respond = lambda request: answer(200, b"first")
        second.respond = lambda request: answer(200, b"second")
        agent = self.start(f'[[share]]\ntarget = "{first.url}"\nname = "one"\n'
                           f'[[share]]\ntarget = "{second.url}"\nname = "two"\n'
                           f'[[share]]\ntarget = "{second.url}"\nname = "three"\nallow = "192.0.2.7"\n'
                           f'[[share]]\ntarget = "{second.url}"\nname = "four"\npassword_file = "token"\n')
        wait_until(lambda: {"one", "two", "three", "four"} <= {name for name, one in self.shares().items() if one["connected"]},
                   "all shares at the edge", 30)
        self.assertEqual(self.visit("one").body, b"first")
        self.assertEqual(self.visit("two").body, b"second")
        self.assertEqual(self.visit("three").status, 403, "a gate of the file is not asked")
        self.assertEqual(self.visit("four").status, 401, "a gate of the file is not asked")
        self.assertEqual(agent.stop(), 0)
        wait_until(lambda: not {"one", "two"} & set(self.shares()), "both shares to be gone")

    def test_a_file_with_mistakes_starts_nothing(self):
        agent = self.start('[[share]]\ntarget = "tcp://127.0.0.1:5432"\n')
        self.assertEqual(agent.process.wait(30), 2)
        self.assertIn("share.toml:5:1: error: a TCP share needs allow", agent.stderr())


if __name__ == "__main__":
    unittest.main()
