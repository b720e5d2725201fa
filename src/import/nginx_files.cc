#include "import/nginx_files.h"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"

namespace lintel::import {
namespace {

namespace fs = std::filesystem;

std::string absolute(const std::string& path) {
  std::error_code error;
  const auto full = fs::absolute(path.empty() ? "." : path, error);
  std::string text = error ? path : full.lexically_normal().string();
  if (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text;
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

// nginx resolves against the folder of its main file; a site's own file (sites-enabled/shop) lies below it.
std::string find_prefix(const std::string& file) {
  const std::string own = folder_of(file);
  for (std::string folder = own;; folder = folder_of(folder)) {
    std::error_code error;
    if (fs::is_regular_file(folder + "/nginx.conf", error)) return folder;
    if (folder == "/") return own;
  }
}

// Media types say nothing that a proxy needs, and a list of them is long.
bool is_type_list(std::string_view path) { return path.substr(path.rfind('/') + 1) == "mime.types"; }

size_t count_of(const Directives& all) {
  size_t count = all.size();
  for (const Directive& one : all) count += count_of(one.block);
  return count;
}

class Loader {
 public:
  // `main` as it was given: files beside it are shown in the same way.
  Loader(NginxFiles& files, const std::string& main, bool follows_includes)
      : files_(files), follows_includes_(follows_includes) {
    const size_t slash = main.rfind('/');
    shown_folder_ = slash == std::string::npos ? "" : main.substr(0, slash + 1);
    real_folder_ = folder_of(absolute(main));
  }

  // False: error() says why.
  bool load(const std::string& path, const std::string& shown, Directives& to) {
    auto text = read_whole_file(path, "nginx", limits::import_file_bytes);
    if (!text) {
      error_ = text.error();
      return false;
    }
    return add(*text, path, shown, to);
  }

  bool add(std::string_view text, const std::string& path, const std::string& shown, Directives& to) {
    total_ += text.size();
    if (total_ > limits::import_total_bytes || files_.names.size() >= limits::import_files_count) {
      error_ = {ErrorCode::usage, fmt::format("the files are more than {} MiB or more than {} together; import them "
                                              "one by one",
                                              limits::import_total_bytes / 1024 / 1024, limits::import_files_count)};
      return false;
    }
    const auto number = static_cast<uint32_t>(files_.names.size());
    files_.names.push_back(shown);
    auto parsed = parse_nginx(text, number);
    if (!parsed) {
      error_ = {ErrorCode::usage,
                fmt::format("{}:{}: not nginx's syntax: {}; see what 'nginx -t' says", log::escape(shown),
                            parsed.error().line, log::escape(parsed.error().message))};
      return false;
    }
    to = parsed_[path] = std::move(*parsed);
    return true;
  }

  bool expand(Directives& all, unsigned depth) {
    Directives result;
    for (Directive& one : all) {
      // Includes too: files that include each other a hundred times would be read 100^8 times.
      if (++directives_ > limits::import_directives_count) return too_many();
      if (one.name == "include" && !one.has_block && one.args.size() == 1) {
        if (!include(one, depth, result)) return false;
        continue;
      }
      if (!expand(one.block, depth)) return false;
      result.push_back(std::move(one));
    }
    all = std::move(result);
    return true;
  }

  Error& error() { return error_; }

 private:
  bool too_many() {
    error_ = {ErrorCode::usage, fmt::format("there are more than {} directives; import the sites' files one by one",
                                            limits::import_directives_count)};
    return false;
  }

  bool include(const Directive& one, unsigned depth, Directives& result) {
    const std::string& pattern = one.args[0];
    const bool is_pattern = pattern.find_first_of("*?[") != std::string::npos;
    std::string_view reason;
    if (is_type_list(pattern)) {
      reason = "it lists media types, which a proxy does not need";
    } else if (depth >= limits::import_include_depth) {
      reason = "files include each other too deeply";
    } else if (pattern.empty() || has_variables(pattern) || !follows_includes_) {
      reason = "it is not a file's name";
    }
    if (!reason.empty()) {
      files_.missing.push_back({one, std::string(reason), !is_type_list(pattern)});
      return true;
    }
    for (const std::string& path : is_pattern ? matching(pattern) : std::vector{full(pattern)}) {
      Directives found;
      if (const auto known = parsed_.find(path); known != parsed_.end()) {
        found = known->second;
      } else if (!load(path, shown(path), found)) {
        if (error_.code == ErrorCode::usage) return false;
        files_.missing.push_back({one, error_.message, true});
        continue;
      }
      if (directives_ + count_of(found) > limits::import_directives_count) return too_many();
      if (!expand(found, depth + 1)) return false;
      std::ranges::move(found, std::back_inserter(result));
    }
    return true;
  }

  std::string shown(const std::string& path) const {
    return path.starts_with(real_folder_ + "/") ? shown_folder_ + path.substr(real_folder_.size() + 1) : path;
  }

  std::string full(const std::string& path) const {
    return absolute(path.starts_with('/') ? path : files_.folder + "/" + path);
  }

  // The files that `pattern` matches, sorted, as nginx takes them.
  std::vector<std::string> matching(const std::string& pattern) const {
    std::string escaped;
    if (!pattern.starts_with('/')) {
      for (const char c : files_.folder + "/") {
        if (std::string_view("*?[\\").find(c) != std::string_view::npos) escaped += '\\';
        escaped += c;
      }
    }
    escaped += pattern;
    std::vector<std::string> paths;
    glob_t found{};
    if (::glob(escaped.c_str(), 0, nullptr, &found) == 0) {
      for (size_t at = 0; at < found.gl_pathc; ++at) paths.push_back(absolute(found.gl_pathv[at]));
    }
    ::globfree(&found);
    return paths;
  }

  NginxFiles& files_;
  const bool follows_includes_;
  std::string shown_folder_, real_folder_;
  std::map<std::string, Directives> parsed_;  // by path, before their own includes are expanded
  size_t total_ = 0;
  size_t directives_ = 0;
  Error error_;
};

}  // namespace

Outcome<NginxFiles> read_nginx_files(const std::string& file, const std::string& prefix) {
  NginxFiles files;
  const std::string path = absolute(file);
  files.folder = prefix.empty() ? find_prefix(path) : absolute(prefix);
  Loader loader(files, file, true);
  if (!loader.load(path, file, files.tree) || !loader.expand(files.tree, 0)) {
    return std::unexpected(std::move(loader.error()));
  }
  return files;
}

Outcome<NginxFiles> read_nginx_text(std::string_view text, const std::string& name) {
  NginxFiles files;
  files.folder = "/nonexistent";
  Loader loader(files, name, false);
  if (!loader.add(text, name, name, files.tree) || !loader.expand(files.tree, 0)) {
    return std::unexpected(std::move(loader.error()));
  }
  return files;
}

}  // namespace lintel::import
