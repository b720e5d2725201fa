#include "observe/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lintel::observe {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Metrics, WorkersAreAddedUp) {
  Metrics metrics(2);
  const size_t site = metrics.site_label("a.test");
  for (unsigned worker : {0U, 0U, 1U}) {
    metrics.worker(worker).request({.site = site,
                                    .method = "GET",
                                    .status = 204,
                                    .duration_us = 3'000,
                                    .first_byte_us = 900,
                                    .bytes_in = 5,
                                    .bytes_out = 7});
  }
  metrics.worker(1).opened(ClientProtocol::https2);
  metrics.worker(0).handshake(true, true);
  const std::string text = metrics.render();
  EXPECT_THAT(text, HasSubstr("lintel_requests_total{site=\"a.test\",method=\"GET\",status=\"2xx\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("lintel_request_duration_seconds_bucket{site=\"a.test\",le=\"0.0025\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("lintel_request_duration_seconds_bucket{site=\"a.test\",le=\"0.005\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("lintel_request_duration_seconds_bucket{site=\"a.test\",le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("lintel_request_duration_seconds_sum{site=\"a.test\"} 0.009\n"));
  EXPECT_THAT(text, HasSubstr("lintel_time_to_first_byte_seconds_bucket{le=\"0.001\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("lintel_response_body_bytes_total{site=\"a.test\"} 21\n"));
  EXPECT_THAT(text, HasSubstr("lintel_connections_open{protocol=\"h2\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("lintel_tls_handshakes_total{version=\"1.3\",resumed=\"true\"} 1\n"));
}

TEST(Metrics, ClientsCannotMakeSeries) {
  Metrics metrics(1);
  const auto lines = [&] {
    const std::string text = metrics.render();
    return std::count(text.begin(), text.end(), '\n');
  };
  metrics.worker(0).request({.site = Metrics::no_site, .method = "X", .status = 400, .error = ErrorCode::host_invalid});
  const auto before = lines();
  for (int i = 0; i < 500; ++i) {
    const std::string method = "M" + std::to_string(i) + "\"\n";
    metrics.worker(0).request({.method = method, .status = 400, .error = ErrorCode::host_invalid});
  }
  EXPECT_EQ(lines(), before);
  EXPECT_THAT(metrics.render(), Not(HasSubstr("M1")));
}

TEST(Metrics, SitesAreBoundedAndKeepTheirLabel) {
  Metrics metrics(1);
  const size_t first = metrics.site_label("first.test");
  for (size_t i = 0; i < 2 * limits::metrics_sites_count; ++i) metrics.site_label("site" + std::to_string(i) + ".test");
  EXPECT_EQ(metrics.site_label("first.test"), first);
  const size_t late = metrics.site_label("late.test");
  EXPECT_EQ(late, metrics.site_label("later.test")) << "one label for all that are too many";
  metrics.worker(0).request({.site = late, .method = "GET", .status = 200});
  EXPECT_THAT(metrics.render(), HasSubstr("lintel_requests_total{site=\"other\",method=\"GET\",status=\"2xx\"} 1\n"));
}

TEST(Exposition, LabelValuesAreEscaped) {
  Exposition to;
  to.family("x_total", "counter", "X.");
  to.sample({{"path", "a\\b\"c\nd"}}, 1);
  EXPECT_EQ(to.take(), "# HELP x_total X.\n# TYPE x_total counter\nx_total{path=\"a\\\\b\\\"c\\nd\"} 1\n");
}

}  // namespace
}  // namespace lintel::observe
