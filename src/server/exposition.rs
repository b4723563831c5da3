//! The two text formats of metrics. The metrics library writes OpenMetrics. The Prometheus format
//! differs in the names of counters.

/// The `Content-Type` of OpenMetrics.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The `Content-Type` of the Prometheus format.
pub(super) const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Converts OpenMetrics text to the Prometheus format, in which the metadata of a counter has the
/// suffix `_total` too. Without it, Prometheus reads a counter as an untyped metric.
pub(super) fn prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let about = lines.peek().copied().filter(|_| line.starts_with("# HELP "));
        let is_counter = about.unwrap_or(line).strip_suffix(" counter").is_some_and(is_type);
        let words = line.splitn(4, ' ').collect::<Vec<_>>();
        match words.as_slice() {
            ["#", "EOF"] => {}
            ["#", keyword @ ("HELP" | "TYPE"), name, rest] if is_counter => {
                text.extend(["# ", keyword, " ", name, "_total ", rest, "\n"]);
            }
            _ => text.extend([line, "\n"]),
        }
    }
    text
}

fn is_type(line: &str) -> bool {
    line.starts_with("# TYPE ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_a_counter_gets_the_suffix_of_its_samples() {
        let open_metrics = "# HELP orders Orders so far.\n\
                            # TYPE orders counter\n\
                            orders_total{outcome=\"PLACED\"} 2\n\
                            # HELP age_seconds Age.\n\
                            # TYPE age_seconds gauge\n\
                            age_seconds 1.5\n\
                            # EOF\n";
        let expected = "# HELP orders_total Orders so far.\n\
                        # TYPE orders_total counter\n\
                        orders_total{outcome=\"PLACED\"} 2\n\
                        # HELP age_seconds Age.\n\
                        # TYPE age_seconds gauge\n\
                        age_seconds 1.5\n";
        assert_eq!(prometheus(open_metrics), expected);
    }
}
