// lintel import nginx: a lintel.toml from nginx's configuration, and a report of every line.
#include "import/import.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "base/files.h"
#include "base/log.h"
#include "cli/commands.h"

namespace lintel::cli {
namespace {

struct Options {
  std::string file, prefix, output, report;
  bool force = false;
  bool json = false;
};

int refuse(std::string_view message) {
  fmt::print(stderr, "lintel: import: {}\n", message);
  return 2;
}

bool exists(const std::string& path) {
  struct stat facts{};
  return ::lstat(path.c_str(), &facts) == 0;
}

// False: said why.
bool write(const std::string& path, const std::string& text) {
  const auto written = write_file_atomically(path, text, 0644);
  if (!written) fmt::print(stderr, "lintel: import: {}\n", written.error().message);
  return written.has_value();
}

int import_nginx(const Options& options) {
  if (!options.output.empty() && !options.force && exists(options.output)) {
    return refuse(fmt::format("{} is there already; choose another -o, or add --force to replace it",
                              log::escape(options.output)));
  }
  const auto files = import::read_nginx_files(options.file, options.prefix);
  if (!files) return refuse(files.error().message);
  const std::string name = options.output.empty() ? "lintel.toml" : options.output;
  const import::Imported imported = import::import_nginx(*files, name);
  if (!options.output.empty() && !imported.toml.empty() && !write(options.output, imported.toml)) return 2;
  const std::string report = import::report_text(imported, *files);
  if (!options.report.empty() && !write(options.report, report)) return 2;
  if (options.json) {
    std::fputs(import::report_json(imported, *files).c_str(), stdout);
  } else {
    // The new file and the report never share a stream.
    const bool toml_on_stdout = options.output.empty();
    if (toml_on_stdout) std::fputs(imported.toml.c_str(), stdout);
    if (options.report.empty()) std::fputs(report.c_str(), toml_on_stdout ? stderr : stdout);
    if (!options.output.empty() && !imported.toml.empty()) {
      fmt::print("{} is written; check it with: lintel check -c {}\n", log::escape(name), log::escape(name));
    }
  }
  return imported.all_fine() ? 0 : 1;
}

}  // namespace

void add_import(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("import", "Make a lintel.toml from another server's configuration");
  command->require_subcommand(1);
  command->footer("Example: lintel import nginx /etc/nginx/nginx.conf -o lintel.toml");
  CLI::App* nginx = command->add_subcommand("nginx", "Translate nginx's configuration, and report on every line of it");
  const auto options = std::make_shared<Options>();
  nginx->add_option("file", options->file, "nginx.conf, or one site's file")->required()->type_name("FILE");
  nginx->add_option("-o,--output", options->output, "Where to write; without it, standard output")->type_name("FILE");
  nginx->add_option("--report", options->report, "Where to write the report; without it, the terminal")
      ->type_name("FILE");
  nginx
      ->add_option("--prefix", options->prefix,
                   "What relative includes are relative to; by default the nearest folder "
                   "at or above FILE's that has an nginx.conf")
      ->type_name("DIR");
  nginx->add_flag("--force", options->force, "Replace the file of -o");
  nginx->add_flag("--json", options->json, "One JSON object on stdout, for programs");
  nginx->footer(
      "Nothing of nginx is changed or run. The report names every line that was unsafe, that is not translated, that\n"
      "behaves differently, or that Lintel does not need.\n"
      "Exit code: 0 everything was understood and safe, 1 something was not, 2 a file cannot be read.\n"
      "Example: lintel import nginx /etc/nginx/nginx.conf -o lintel.toml --report import.txt");
  nginx->callback([options, &exit_code] { exit_code = import_nginx(*options); });
}

}  // namespace lintel::cli
