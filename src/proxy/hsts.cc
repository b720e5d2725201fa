#include "proxy/hsts.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/files.h"
#include "base/ip.h"
#include "base/limits.h"
#include "base/log.h"
#include "tls/public_trust.h"

namespace lintel::proxy {
namespace {

using tls::PublicTrust;

constexpr std::string_view first_line = "lintel hsts 1\n";

// "1763731200 www.example.com"
bool parse_line(std::string_view line, std::string& name, int64_t& since) {
  const size_t blank = line.find(' ');
  if (blank == std::string_view::npos) return false;
  const auto [end, error] = std::from_chars(line.data(), line.data() + blank, since);
  if (error != std::errc() || end != line.data() + blank || since < 0) return false;
  name.assign(line.substr(blank + 1));
  const bool sane = std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '*';
  });
  return sane && !name.empty() && name.size() <= limits::host_bytes;
}

// The name of the certificate that covers `sni`: "*.example.com" for every name of a wildcard, or clients could fill
// the file with names of their choice.
std::string covering_name(X509* leaf, const std::string& sni) {
  char* matched = nullptr;
  std::string name;
  if (X509_check_host(leaf, sni.data(), sni.size(), 0, &matched) == 1 && matched != nullptr) name = matched;
  OPENSSL_free(matched);
  ERR_clear_error();
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name;
}

}  // namespace

bool hsts_is_harmful(std::string_view host) {
  return host == "localhost" || host.ends_with(".localhost") || host.ends_with(".test") || host.starts_with('[') ||
         IpAddress::parse(host).has_value();
}

HstsNames::HstsNames(std::string state, const Clock& clock)
    : clock_(clock), folder_(std::move(state)), file_(folder_ + "/hsts-names"), known_(std::make_shared<Known>()) {
  read_file();
  publish(clock_.unix_ms() / 1000);
}

HstsNames::~HstsNames() {
  for (const Served& one : served_) {
    X509_free(one.leaf);
    sk_X509_pop_free(one.chain, X509_free);
  }
}

void HstsNames::read_file() {
  auto text = read_whole_file(file_, "HSTS", limits::hsts_file_bytes);
  if (!text) {
    if (text.error().code != ErrorCode::not_found) log::warn("hsts = \"auto\" begins anew: {}", text.error().message);
    return;
  }
  std::string_view rest = *text;
  bool fine = rest.starts_with(first_line) && rest.ends_with('\n');
  rest.remove_prefix(std::min(rest.size(), first_line.size()));
  while (fine && !rest.empty()) {
    const size_t end = rest.find('\n');
    std::string name;
    Entry entry{.saved = true};
    fine = names_.size() < limits::hsts_names_count && parse_line(rest.substr(0, end), name, entry.since_unix_s);
    names_[name] = entry;
    rest.remove_prefix(end + 1);
  }
  if (fine) return;
  names_.clear();
  const std::string aside = fmt::format("{}.damaged-{}", file_, clock_.unix_ms() / 1000);
  const bool moved = std::rename(file_.c_str(), aside.c_str()) == 0;
  log::warn("{} is damaged; {}; hsts = \"auto\" begins anew", file_,
            moved ? "it is set aside as " + aside : "it could not be set aside");
}

bool HstsNames::note(X509* leaf, STACK_OF(X509) * chain, std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (served_.size() >= limits::hsts_checks_count || X509_up_ref(leaf) != 1) return false;
  served_.push_back({leaf, chain != nullptr ? X509_chain_up_ref(chain) : nullptr, std::string(name)});
  return true;
}

void HstsNames::look_after(bool force) {
  const uint64_t now_ms = clock_.monotonic_ms();
  if (!force && now_ms < next_look_ms_) return;
  next_look_ms_ = now_ms + limits::hsts_check_ms;
  std::vector<Served> served;
  {
    const std::lock_guard lock(mutex_);
    served.swap(served_);
  }
  const int64_t now_s = clock_.unix_ms() / 1000;
  const bool changed = take(served, now_s);
  for (const Served& one : served) {
    X509_free(one.leaf);
    sk_X509_pop_free(one.chain, X509_free);
  }
  dirty_ = dirty_ || changed;
  const bool was_dirty = dirty_;
  if (dirty_) save();
  if (was_dirty || (next_of_age_unix_s_ != 0 && now_s >= next_of_age_unix_s_)) publish(now_s);
}

// True when the names have changed.
bool HstsNames::take(const std::vector<Served>& served, int64_t now_s) {
  if (served.empty()) return false;
  std::unique_ptr<tls::SystemStore> store;
  bool changed = false;
  for (const Served& one : served) {
    std::atomic<PublicTrust>& answer = *tls::public_trust(one.leaf);
    PublicTrust trust = answer.load(std::memory_order_relaxed);
    if (trust == PublicTrust::unknown || trust == PublicTrust::asked) {
      if (store == nullptr) store = std::make_unique<tls::SystemStore>();
      trust = store->trusts(one.leaf, one.chain, now_s) ? PublicTrust::yes : PublicTrust::no;
      answer.store(trust, std::memory_order_relaxed);
    }
    const std::string name = covering_name(one.leaf, one.name);
    if (name.empty()) continue;
    if (trust == PublicTrust::no) {
      changed |= names_.erase(name) != 0;
    } else if (names_.size() < limits::hsts_names_count) {
      changed |= names_.emplace(name, Entry{.since_unix_s = now_s}).second;
    } else if (!std::exchange(full_, true)) {
      log::warn("hsts = \"auto\" keeps no more than {} names; {} gets none", limits::hsts_names_count, name);
    }
  }
  return changed;
}

// On an error the names stay as they are, not of age, and the next look tries again.
void HstsNames::save() {
  std::string text(first_line);
  for (const auto& [name, entry] : names_) text += fmt::format("{} {}\n", entry.since_unix_s, name);
  auto written = make_folders(folder_, 0700);
  if (written) written = write_file_atomically(file_, text, 0600);
  if (!written) {
    if (!std::exchange(save_failed_, true)) {
      log::warn("hsts = \"auto\" sends nothing for new names: {}", written.error().message);
    }
    return;
  }
  save_failed_ = dirty_ = false;
  for (auto& [name, entry] : names_) entry.saved = true;
}

void HstsNames::publish(int64_t now_s) {
  auto fresh = std::make_shared<Known>();
  next_of_age_unix_s_ = 0;
  for (const auto& [name, entry] : names_) {
    const int64_t of_age = entry.since_unix_s + int64_t{limits::hsts_auto_age_s};
    // A day in the future: the clock was wrong then or is now.
    const bool mature = entry.saved && now_s >= of_age;
    fresh->emplace(name, mature);
    if (!mature && (next_of_age_unix_s_ == 0 || of_age < next_of_age_unix_s_)) next_of_age_unix_s_ = of_age;
  }
  const std::lock_guard lock(mutex_);
  known_ = std::move(fresh);
  generation_.fetch_add(1, std::memory_order_release);
}

std::shared_ptr<const HstsNames::Known> HstsNames::known() const {
  const std::lock_guard lock(mutex_);
  return known_;
}

const HstsNames::Known* HstsView::known() {
  if (names_ == nullptr) return nullptr;
  const uint64_t generation = names_->generation_.load(std::memory_order_acquire);
  if (generation != generation_) {
    known_ = names_->known();
    generation_ = generation;
  }
  return known_.get();
}

bool HstsView::mature(std::string_view host) {
  const HstsNames::Known* names = known();
  if (names == nullptr || names->empty() || hsts_is_harmful(host)) return false;
  if (const auto exact = names->find(host); exact != names->end()) return exact->second;
  const size_t dot = host.find('.');
  if (dot == std::string_view::npos || host.size() > limits::host_bytes) return false;
  char pattern[limits::host_bytes + 1];
  pattern[0] = '*';
  const size_t size = host.copy(pattern + 1, host.size() - dot, dot) + 1;
  const auto wild = names->find(std::string_view(pattern, size));
  return wild != names->end() && wild->second;
}

void HstsView::served(const SSL* ssl, std::string_view sni) {
  if (names_ == nullptr || sni.empty() || hsts_is_harmful(sni)) return;
  X509* leaf = SSL_get_certificate(ssl);
  std::atomic<PublicTrust>* answer = tls::public_trust(leaf);
  if (answer == nullptr) return;
  const PublicTrust trust = answer->load(std::memory_order_relaxed);
  if (trust == PublicTrust::asked) return;
  if (trust != PublicTrust::unknown) {
    const HstsNames::Known* names = known();
    const size_t dot = sni.find('.');
    const bool is_known =
        names->find(sni) != names->end() ||
        (dot != std::string_view::npos && names->find("*" + std::string(sni.substr(dot))) != names->end());
    if (is_known == (trust == PublicTrust::yes)) return;
  } else {
    answer->store(PublicTrust::asked, std::memory_order_relaxed);
  }
  STACK_OF(X509)* chain = nullptr;
  SSL_get0_chain_certs(const_cast<SSL*>(ssl), &chain);  // the macro takes no const, and reads only
  // Else the next handshake asks again.
  if (!names_->note(leaf, chain, sni) && trust == PublicTrust::unknown) {
    answer->store(PublicTrust::unknown, std::memory_order_relaxed);
  }
}

}  // namespace lintel::proxy
