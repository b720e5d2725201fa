// Reads the files of a configuration: the main one, then what it includes.
#include <fcntl.h>
#include <fmt/format.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>

#include "base/files.h"
#include "config/draft.h"

namespace lintel::config {
namespace {

struct Include {
  Text pattern;
  std::string folder;
  unsigned depth;
};

// One file's top level.
struct FileDraft {
  Draft& draft;
  std::vector<Text> includes;
};

bool read_include(Context& context, const toml::node& node, FileDraft& file) {
  file.includes = read_texts(context, node, "include");
  return true;
}

bool read_server_table(Context& context, const toml::node& node, FileDraft& file) {
  const toml::table* table = read_table_node(context, node, "server");
  if (table != nullptr) read_server(context, *table, file.draft);
  return true;
}

bool read_sites(Context& context, const toml::node& node, FileDraft& file) {
  if (!node.is_array()) {
    wrong_type(context, node, "site", "an array of tables, each written as [[site]]");
    return true;
  }
  for (const toml::node* item : items(node)) {
    const toml::table* table = read_table_node(context, *item, "site");
    if (table != nullptr) read_site(context, *table, file.draft);
  }
  return true;
}

bool read_acme_table(Context& context, const toml::node& node, FileDraft& file) {
  const toml::table* table = read_table_node(context, node, "acme");
  if (table != nullptr) read_acme(context, *table, file.draft);
  return true;
}

bool read_edge_table(Context& context, const toml::node& node, FileDraft& file) {
  const toml::table* table = read_table_node(context, node, "edge");
  if (table != nullptr) read_edge(context, *table, file.draft);
  return true;
}

bool read_trusts(Context& context, const toml::node& node, FileDraft& file) {
  if (!node.is_array()) {
    wrong_type(context, node, "trust", "an array of tables, each written as [[trust]]");
    return true;
  }
  for (const toml::node* item : items(node)) {
    const toml::table* table = read_table_node(context, *item, "trust");
    if (table != nullptr) read_trust(context, *table, file.draft);
  }
  return true;
}

constexpr Key<FileDraft> top_keys[] = {
    {{"", "include", "array of strings", "[]", true}, read_include},
    {{"", "server", "table", "{}", true}, read_server_table},
    {{"", "site", "array of tables", "required", true}, read_sites},
    {{"", "acme", "table", "{}", true}, read_acme_table},
    {{"", "edge", "table", "{}", true}, read_edge_table},
    {{"", "trust", "array of tables", "[]", true}, read_trusts},
};

std::string absolute(const std::string& path) {
  std::error_code error;
  const auto full = std::filesystem::absolute(path.empty() ? "." : path, error);
  std::string text = error ? path : full.lexically_normal().string();
  if (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text;
}

// The content of `path`, or why it cannot be had.
std::expected<std::string, std::string> read_whole(const std::string& path, bool must_be_regular) {
  int descriptor = must_be_regular ? -1 : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0 && (must_be_regular || errno == EACCES)) descriptor = open_for_reading(path);
  if (descriptor < 0) return std::unexpected(std::strerror(errno));
  struct stat facts{};
  std::string text;
  std::string failure;
  if (::fstat(descriptor, &facts) != 0) {
    failure = std::strerror(errno);
  } else if (must_be_regular && !S_ISREG(facts.st_mode)) {
    failure = "it is not a regular file";
  }
  char piece[16 * 1024];
  while (failure.empty()) {
    const ssize_t count = ::read(descriptor, piece, sizeof(piece));
    if (count == 0) break;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      failure = std::strerror(errno);
    } else {
      text.append(piece, static_cast<size_t>(count));
      if (text.size() > limits::config_file_bytes) {
        failure = fmt::format("it is larger than {} KiB", limits::config_file_bytes / 1024);
      }
    }
  }
  ::close(descriptor);
  if (!failure.empty()) return std::unexpected(failure);
  return text;
}

class Loader {
 public:
  ParseResult finish() {
    if (!is_incomplete_) validate(report_, draft_, {.file = 0, .line = 0, .column = 0});
    ParseResult result;
    const bool failed = report_.failed();
    result.diagnostics = report_.take();
    if (!failed) {
      draft_.config.files = std::move(files_);
      result.config = freeze(std::move(draft_.config));
    }
    return result;
  }

  void load_main(const std::string& file) {
    const size_t slash = file.rfind('/');
    shown_folder_ = slash == std::string::npos ? "" : file.substr(0, slash + 1);
    main_folder_ = absolute(slash == std::string::npos ? "." : file.substr(0, slash + 1));
    auto text = read_whole(file, false);
    if (!text) {
      is_incomplete_ = true;
      const uint32_t at = report_.add_file(file, {});
      report_.error({.file = at, .line = 0, .column = 0}, fmt::format("the file cannot be read: {}", text.error()));
      return;
    }
    load(std::move(*text), file, absolute(file), main_folder_);
  }

  void load_main_text(std::string_view text, const std::string& name, const std::string& folder) {
    main_folder_ = absolute(folder);
    if (text.size() > limits::config_file_bytes) {
      is_incomplete_ = true;
      const uint32_t at = report_.add_file(name, {});
      report_.error({.file = at, .line = 0, .column = 0},
                    fmt::format("the file is larger than {} KiB", limits::config_file_bytes / 1024));
      return;
    }
    load(std::string(text), name, name, main_folder_);
  }

 private:
  void load(std::string text, const std::string& name, const std::string& path, const std::string& folder) {
    load_one(std::move(text), name, path, folder, 0);
    // In the order of the files, without recursion: what an included file includes comes at the end.
    for (size_t at = 0; at < pending_.size(); ++at) {
      const Include include = pending_[at];
      load_include(include);
    }
  }

  void load_one(std::string text, const std::string& name, const std::string& path, const std::string& folder,
                unsigned depth) {
    files_.push_back(path);
    std::error_code error;
    const auto real = std::filesystem::canonical(path, error);
    seen_.insert(error ? path : real.string());
    const std::string content = std::move(text);
    const uint32_t file = report_.add_file(name, content);
    const std::optional<toml::table> parsed = parse_toml(report_, file, content);
    if (!parsed) {
      is_incomplete_ = true;
      return;
    }
    Context context{report_, file, folder};
    FileDraft draft{draft_, {}};
    Seen seen;
    read_table<FileDraft>(context, *parsed, top_keys, draft, seen);
    for (Text& pattern : draft.includes) pending_.push_back({std::move(pattern), folder, depth + 1});
  }

  void load_include(const Include& include) {
    const Where& where = include.pattern.where;
    const std::string& raw = include.pattern.raw;
    if (include.depth > limits::config_include_depth) {
      report_.error(where, fmt::format("files include each other more than {} deep", limits::config_include_depth));
      return;
    }
    const std::string& value = include.pattern.value;
    if (value.empty()) {
      report_.error(where, "include is empty; it must name a file");
      return;
    }
    const bool is_pattern = value.find_first_of("*?[") != std::string::npos;
    std::vector<std::string> paths;
    if (is_pattern) {
      paths = matching(include.folder, value);
    } else {
      paths.push_back(value.starts_with('/') ? value : include.folder + "/" + value);
    }
    for (const std::string& found : paths) {
      const std::string path = absolute(found);
      std::error_code error;
      const auto real = std::filesystem::canonical(path, error);
      if (!error && seen_.contains(real.string())) continue;
      if (files_.size() >= limits::config_files_count) {
        report_.error(where, fmt::format("more than {} files are included", limits::config_files_count));
        return;
      }
      auto text = read_whole(path, true);
      if (!text) {
        is_incomplete_ = true;
        report_.error(where, fmt::format("the included file {} cannot be read: {}",
                                         in_quotes(is_pattern ? shown(path) : raw), text.error()));
        continue;
      }
      const size_t slash = path.rfind('/');
      load_one(std::move(*text), shown(path), path, slash == 0 ? "/" : path.substr(0, slash), include.depth);
    }
  }

  // The files that `pattern` matches, sorted.
  static std::vector<std::string> matching(const std::string& folder, const std::string& pattern) {
    std::string full;
    if (!pattern.starts_with('/')) {
      for (const char c : folder) {
        if (std::string_view("*?[\\").find(c) != std::string_view::npos) full += '\\';
        full += c;
      }
      full += '/';
    }
    full += pattern;
    std::vector<std::string> paths;
    glob_t found{};
    if (::glob(full.c_str(), GLOB_NOSORT, nullptr, &found) == 0) {
      for (size_t at = 0; at < found.gl_pathc; ++at) paths.emplace_back(found.gl_pathv[at]);
    }
    ::globfree(&found);
    std::ranges::sort(paths);
    return paths;
  }

  // `path` as the person who named the main file would write it.
  std::string shown(const std::string& path) const {
    if (!path.starts_with(main_folder_ + "/")) return path;
    return shown_folder_ + path.substr(main_folder_.size() + 1);
  }

  Report report_;
  Draft draft_;
  std::vector<std::string> files_;
  std::set<std::string> seen_;
  std::vector<Include> pending_;
  std::string main_folder_, shown_folder_;
  // A file is missing from what was read: checks of the whole would report its absence, not the mistake.
  bool is_incomplete_ = false;
};

}  // namespace

ParseResult parse_file(const std::string& file) {
  Loader loader;
  loader.load_main(file);
  return loader.finish();
}

ParseResult parse_text(std::string_view text, const std::string& name, const std::string& folder) {
  Loader loader;
  loader.load_main_text(text, name, folder);
  return loader.finish();
}

const std::vector<KeyInfo>& known_keys() {
  static const std::vector<KeyInfo> all = [] {
    std::vector<KeyInfo> keys;
    for (const auto& key : top_keys) keys.push_back(key.info);
    add_server_keys(keys);
    add_site_keys(keys);
    add_route_keys(keys);
    add_trust_keys(keys);
    add_acme_keys(keys);
    add_edge_keys(keys);
    return keys;
  }();
  return all;
}

}  // namespace lintel::config
