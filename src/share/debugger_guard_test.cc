#include "share/debugger_guard.h"

#include <gtest/gtest.h>

namespace lintel::share {
namespace {

// Each of these reaches Werkzeug's debugger when it is behind nothing, or behind a server that decodes first. It runs
// any Python for whoever gets through, and its PIN can be worked out from files of the machine.
TEST(DebuggerGuardAttack, EveryWayOfAskingIsSeen) {
  for (const std::string_view target : {"/?__debugger__=yes&cmd=resource&f=debugger.js",
                                        "/any/path?__debugger__=yes&cmd=pinauth&pin=1&s=x",
                                        "/?s=x&cmd=1&frm=0&__debugger__=yes",
                                        "/?a=b&__debugger__=yes",
                                        "/?__debugger__",
                                        "/?__debugger__=no",
                                        "/?__DEBUGGER__=yes",
                                        "/?__%64ebugger__=yes",
                                        "/?%5f%5Fdebugger%5f_=yes",
                                        "/?__%2564ebugger__=yes",
                                        "/?%255f_debugger__=yes",
                                        "/?a;__debugger__=yes",
                                        "/?a=1;__debugger__=yes;cmd=x",
                                        "/?+__debugger__+=yes",
                                        "/?&&__debugger__=yes",
                                        "/?__debugger__[]=yes",
                                        "/?__debugger__=no&__debugger__=yes",
                                        "/?x?__debugger__=yes",
                                        "/%3f__debugger__=yes",
                                        "/a%253F__debugger__=yes",
                                        "/?a%26__debugger__=yes",
                                        "/?__debugger__%3dyes",
                                        "/?%00__debugger__=yes",
                                        "/?cmd=dump()&frm=140&s=secret",
                                        "*?__debugger__=yes"}) {
    EXPECT_TRUE(asks_for_debugger(target)) << target;
  }
}

TEST(DebuggerGuardAttack, OtherFrameworksDebuggersAreSeen) {
  for (const std::string_view target :
       {"/__better_errors", "/__better_errors/1/eval", "/__web_console/repl_sessions/1", "/_ignition/execute-solution",
        "//_ignition//execute-solution", "/x/../_ignition/execute-solution", "/%5fignition/execute-solution",
        "/_IGNITION/x", "/_ignition;x/execute-solution", "/_ignition%2fexecute-solution", "/\\_ignition/x"}) {
    EXPECT_TRUE(asks_for_debugger(target)) << target;
  }
}

TEST(DebuggerGuard, OrdinaryRequestsPass) {
  for (const std::string_view target :
       {"/", "*", "", "/?q=__debugger__", "/search?q=what+is+__debugger__%3F", "/debugger", "/?debugger=yes",
        "/?s=x&cmd=list", "/?frm=1", "/__debugger__", "/_ignitions", "/%zz?%", "/?cmd=a&frm=b", "/?=__debugger__"}) {
    EXPECT_FALSE(asks_for_debugger(target)) << target;
  }
}

TEST(DebuggerGuardAttack, EverySpellingOfTheConsoleIsSeen) {
  for (const std::string_view target :
       {"/console", "/console?x", "//console", "/%63onsole", "/%2563onsole", "/CONSOLE", "/console/", "/a/../console",
        "/./console", "/console;x=1", "/%2fconsole", "/console%3fx", "/console%20"}) {
    EXPECT_TRUE(may_be_console(target)) << target;
  }
}

TEST(DebuggerGuard, OtherPathsAreNoConsole) {
  for (const std::string_view target : {"/", "/consoles", "/admin/console", "/console/users", "/?console", "*"}) {
    EXPECT_FALSE(may_be_console(target)) << target;
  }
}

}  // namespace
}  // namespace lintel::share
