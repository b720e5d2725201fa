#include "dev/app_watcher.h"

#include <gmock/gmock.h>
#include <poll.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>

#include "dev/child.h"
#include "dev/dev_gate.h"
#include "dev/environment.h"

namespace lintel::dev {
namespace {

// A plain TCP server that reads five octets of what it accepts and holds it; `server.py PORT` (0: any) writes its port
// to the file PORT_FILE.
constexpr const char* server_script = R"(
import socket, sys, os, signal
signal.signal(signal.SIGTERM, lambda *a: os._exit(0))
def listen(port):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('127.0.0.1', port)); s.listen(16); return s
s = listen(int(sys.argv[1]))
with open(sys.argv[2] + '.new', 'w') as f: f.write(f'{s.getsockname()[1]}\n')
os.rename(sys.argv[2] + '.new', sys.argv[2])
held = []
while True:
    c = s.accept()[0]
    c.recv(5)
    held.append(c)
)";

class Watching : public testing::Test {
 protected:
  Watching() {
    char name[] = "/tmp/lintel-watcher-XXXXXX";
    folder = ::mkdtemp(name);
    std::ofstream(folder + "/server.py") << server_script;
  }
  ~Watching() override {
    watcher.reset();
    child = {};
    std::filesystem::remove_all(folder);
  }
  void start(const std::string& script, PortWish wish = {}) {
    auto started =
        Child::start({{"sh", "-c", "cd " + folder + "; " + script}, Environment::of_this_process().entries()});
    ASSERT_TRUE(started);
    child = std::move(*started);
    watch({child.minder(), child.exit_fd(), wish});
  }
  void watch(const AppWatcher::Target& target) {
    watcher = std::make_unique<AppWatcher>(target, [this](const AppUpdate& update) {
      std::lock_guard lock(mutex);
      updates.push_back(update);
      changed.notify_all();
    });
  }
  // The update number `index`, waited for.
  AppUpdate update(size_t index) {
    std::unique_lock lock(mutex);
    bool came = changed.wait_for(lock, std::chrono::seconds(20), [&] { return updates.size() > index; });
    EXPECT_TRUE(came) << "no update number " << index;
    return came ? updates[index] : AppUpdate{};
  }
  uint16_t port_in(const std::string& file) {
    for (int waited = 0; waited < 20'000; waited += 10) {
      auto text = read_file(folder + "/" + file);
      if (text) return static_cast<uint16_t>(std::stoi(*text));
      ::poll(nullptr, 0, 10);
    }
    return 0;
  }
  std::string folder;
  Child child;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<AppUpdate> updates;
  std::unique_ptr<AppWatcher> watcher;
};

TEST_F(Watching, finds_the_port_of_a_grandchild_that_ignores_the_environment) {
  start("/usr/bin/python3 server.py 0 port & wait");
  AppUpdate up = update(0);
  EXPECT_EQ(up.kind, AppUpdate::Kind::up);
  EXPECT_EQ(up.address.port, port_in("port"));
  EXPECT_FALSE(up.tls);
}

TEST_F(Watching, a_port_of_another_process_is_not_the_apps_even_if_it_is_the_one_offered) {
  // The app crashes or is slow, and somebody else's server has the port: forwarding there would leak the requests.
  auto other = Child::start({{"sh", "-c", "cd " + folder + "; exec /usr/bin/python3 server.py 0 other"},
                             Environment::of_this_process().entries()});
  ASSERT_TRUE(other);
  uint16_t taken = port_in("other");
  start("/usr/bin/python3 server.py 0 port", {0, taken});
  EXPECT_EQ(update(0).address.port, port_in("port"));
}

TEST_F(Watching, follows_a_restart_to_another_port) {
  start(
      "/usr/bin/python3 server.py 0 one & first=$!; while [ ! -e go ]; do sleep 0.01; done; kill $first; wait $first; "
      "while [ ! -e again ]; do sleep 0.01; done; exec /usr/bin/python3 server.py 0 two");
  EXPECT_EQ(update(0).address.port, port_in("one"));
  std::ofstream(folder + "/go") << "";
  EXPECT_EQ(update(1).kind, AppUpdate::Kind::lost);
  std::ofstream(folder + "/again") << "";
  EXPECT_EQ(update(2).kind, AppUpdate::Kind::up);
  EXPECT_EQ(update(2).address.port, port_in("two"));
}

TEST_F(Watching, a_refused_connection_makes_it_look_and_answer_again) {
  start("exec /usr/bin/python3 server.py 0 port");
  EXPECT_EQ(update(0).kind, AppUpdate::Kind::up);
  watcher->look_now();
  EXPECT_EQ(update(1).kind, AppUpdate::Kind::up);
}

TEST_F(Watching, the_exit_is_the_last_update) {
  start("exit 5");
  EXPECT_EQ(update(0).kind, AppUpdate::Kind::exited);
  EXPECT_EQ(child.exit_code(), 5);
}

TEST(Gate, without_a_child_requests_are_held_only_until_the_first_verdict) {
  // Nobody promises that the app will be started: a request must not wait for it.
  DevGate gate(false, app_endpoint(SocketAddress::of(IpAddress::v4(0x7f000001), 5000), false), "start it");
  EXPECT_EQ(gate.state(), proxy::AppGate::State::starting);
  gate.apply({AppUpdate::Kind::lost, {}, false, {}, {}});
  EXPECT_EQ(gate.state(), proxy::AppGate::State::up);
  EXPECT_EQ(gate.endpoint()->url, "http://127.0.0.1:5000");
}

TEST_F(Watching, without_a_child_there_is_a_verdict_at_once_and_after_each_doubt) {
  uint16_t nobodys = 0;
  {
    auto other = Child::start({{"sh", "-c", "cd " + folder + "; exec /usr/bin/python3 server.py 0 other"},
                               Environment::of_this_process().entries()});
    ASSERT_TRUE(other);
    nobodys = port_in("other");
  }
  watch({0, -1, {nobodys, 0}});
  EXPECT_EQ(update(0).kind, AppUpdate::Kind::lost);
  watcher->look_now();
  EXPECT_EQ(update(1).kind, AppUpdate::Kind::lost);
}

TEST(Gate, holds_requests_until_the_app_is_up_and_again_when_it_goes_away) {
  DevGate gate(true, {}, "");
  int looks = 0;
  gate.set_look_now([&] { ++looks; });
  EXPECT_EQ(gate.state(), proxy::AppGate::State::starting);
  EXPECT_EQ(gate.endpoint(), nullptr);
  gate.apply({AppUpdate::Kind::up, SocketAddress::of(*IpAddress::parse("::1"), 5000), true, {}, "python3"});
  ASSERT_NE(gate.endpoint(), nullptr);
  EXPECT_EQ(gate.endpoint()->protocol, config::Endpoint::Protocol::https);
  EXPECT_FALSE(gate.endpoint()->tls.verify);
  EXPECT_EQ(gate.endpoint()->url, "https://[::1]:5000");
  gate.connect_failed();
  EXPECT_EQ(gate.state(), proxy::AppGate::State::starting);
  EXPECT_EQ(looks, 1);
  gate.apply({AppUpdate::Kind::exited, {}, false, {}, {}});
  EXPECT_EQ(gate.state(), proxy::AppGate::State::exited);
}

TEST(Gate, only_so_many_requests_wait_and_each_is_told) {
  net::Reactor reactor;
  DevGate gate(true, {}, "");
  std::vector<std::unique_ptr<net::Signal>> signals;
  int told = 0;
  for (size_t i = 0; i < limits::waiting_requests_count; ++i) {
    signals.push_back(std::make_unique<net::Signal>(reactor, [](void* count) { ++*static_cast<int*>(count); }, &told));
    ASSERT_TRUE(gate.add_waiter(*signals.back()));
  }
  net::Signal one_more(reactor);
  EXPECT_FALSE(gate.add_waiter(one_more));
  gate.remove_waiter(*signals.back());
  signals.pop_back();
  gate.apply({AppUpdate::Kind::up, SocketAddress::of(IpAddress::v4(0x7f000001), 5000), false, {}, ""});
  reactor.turn(0);
  EXPECT_EQ(told, static_cast<int>(limits::waiting_requests_count) - 1);
}

}  // namespace
}  // namespace lintel::dev
