// lintel doctor: does this app know that it is on https, and if not, what is to be changed?
#include "doctor/doctor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/report.h"
#include "doctor/database.h"
#include "doctor/render.h"

namespace lintel::cli {
namespace {

struct Options {
  doctor::Options doctor;
  bool json = false;
};

// One line on the terminal that is written over and over, and gone at the end.
class Progress {
 public:
  ~Progress() {
    if (shown_) std::fputs("\r\x1b[K", stderr);
  }
  void show(size_t count, const std::string& probe) {
    shown_ = true;
    fmt::print(stderr, "\r\x1b[K{:>2} {}", count, log::escape(probe).substr(0, 70));
    std::fflush(stderr);
  }

 private:
  bool shown_ = false;
};

Outcome<doctor::Diagnosis> examine(Options& options) {
  Progress progress;
  if (::isatty(STDERR_FILENO) != 0)
    options.doctor.progress = [&](size_t count, const std::string& probe) { progress.show(count, probe); };
  return doctor::examine(options.doctor);
}

int run(Options& options) {
  if (options.doctor.target.empty())
    return report(
        {ErrorCode::usage, "doctor needs an app: its port, as in 'lintel doctor 5000', or the https URL of a site"});
  const auto diagnosis = examine(options);
  if (!diagnosis) return report(diagnosis.error());
  const doctor::Platform* platform = doctor::Database::embedded().platform(options.doctor.platform);
  const bool color = ::isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr;
  const std::string text =
      options.json ? doctor::as_json(*diagnosis, platform) : doctor::as_text(*diagnosis, {color, platform});
  std::fputs(text.c_str(), stdout);
  return diagnosis->verdict == doctor::Verdict::healthy ? 0 : 1;
}

}  // namespace

void add_doctor(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("doctor", "Find out why an app still thinks that it is on http");
  const auto options = std::make_shared<Options>();
  command
      ->add_option("TARGET", options->doctor.target,
                   "A port of this machine, the app's URL, or the https URL of a site")
      ->type_name("PORT|URL");
  command
      ->add_option("--path", options->doctor.paths,
                   "Look at this path too, e.g. the one that starts a sign-in; may be repeated")
      ->type_name("/PATH")
      ->allow_extra_args(false);
  command->add_option("--host", options->doctor.host, "The public name to ask the app for (default: a made-up one)")
      ->type_name("HOST");
  command->add_option("--for", options->doctor.platform, "Where the app is going to run: lintel, heroku, aws-alb, ...")
      ->type_name("PLATFORM");
  command->add_flag("--json", options->json, "One JSON object on stdout, for programs");
  command->footer(
      "Sends GET requests as Lintel would, once for https and once for http, and compares the answers.\n"
      "Exit code: 0 healthy, 1 findings, or nothing seen that depends on the scheme; 2 usage; 3 the app cannot be "
      "reached.\n"
      "Platforms: " +
      doctor::Database::embedded().platform_names() +
      "\n"
      "Example: lintel doctor 5000 --path /login\n"
      "Example: lintel doctor https://shop.example.com --json");
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace lintel::cli
