//! Counters of requests and tokens, in Prometheus' text format.
//!
//! Written by hand: `prometheus-client` would save little and write `le="30.0"` for `le="30"`, a new series for who scrapes.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::memory::resident_bytes;

/// Upper bounds of the time to the first token, in seconds.
const FIRST_TOKEN_BOUNDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// Upper bounds of the time between two tokens, in seconds.
const TOKEN_BOUNDS: [f64; 10] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// End of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestEnd {
    Stop,
    Length,
    Time,
    Cancelled,
    Failed,
    Refused,
}

impl RequestEnd {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Stop, "stop"),
        (Self::Length, "length"),
        (Self::Time, "time"),
        (Self::Cancelled, "cancelled"),
        (Self::Failed, "failed"),
        (Self::Refused, "refused"),
    ];
}

/// Histogram of durations.
#[derive(Debug)]
struct Histogram {
    bounds: [f64; 10],
    counts: [AtomicU64; 11],
    micros: AtomicU64,
}

impl Histogram {
    fn new(bounds: [f64; 10]) -> Self {
        Self { bounds, counts: Default::default(), micros: AtomicU64::new(0) }
    }

    fn record(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = self.bounds.iter().position(|&bound| seconds <= bound).unwrap_or(self.bounds.len());
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(duration.as_micros() as u64, Ordering::Relaxed);
    }

    fn write(&self, text: &mut String, name: &str, source: &str) {
        let mut total = 0;
        for (count, bound) in self.counts.iter().zip(self.bounds.iter().copied().chain([f64::INFINITY])) {
            total += count.load(Ordering::Relaxed);
            let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            let _ = writeln!(text, "{name}_bucket{{source=\"{source}\",le=\"{bound}\"}} {total}");
        }
        let seconds = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(text, "{name}_sum{{source=\"{source}\"}} {seconds}");
        let _ = writeln!(text, "{name}_count{{source=\"{source}\"}} {total}");
    }
}

/// Counters and gauges of one source.
#[derive(Debug)]
pub(crate) struct SourceMetrics {
    source: String,
    answers: [AtomicU64; RequestEnd::ALL.len()],
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) generated_tokens: AtomicU64,
    pub(crate) queue_depth: AtomicU64,
    pub(crate) active_rows: AtomicU64,
    first_token: Histogram,
    token: Histogram,
}

impl SourceMetrics {
    pub(crate) fn new(source: &str) -> Self {
        Self {
            source: source.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n"),
            answers: Default::default(),
            prompt_tokens: AtomicU64::new(0),
            generated_tokens: AtomicU64::new(0),
            queue_depth: AtomicU64::new(0),
            active_rows: AtomicU64::new(0),
            first_token: Histogram::new(FIRST_TOKEN_BOUNDS),
            token: Histogram::new(TOKEN_BOUNDS),
        }
    }

    pub(crate) fn count(&self, answer: RequestEnd) {
        self.answers[answer as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn first_token(&self, after: Duration) {
        self.first_token.record(after);
    }

    pub(crate) fn next_token(&self, after: Duration) {
        self.token.record(after);
    }
}

/// Selects one of a source's values.
type Field = fn(&SourceMetrics) -> &AtomicU64;

/// Renders all sources' metrics and the process' memory.
pub(crate) fn render(sources: &[&SourceMetrics]) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, rows: &dyn Fn(&mut String, &SourceMetrics)| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for source in sources {
            rows(&mut text, source);
        }
    };
    family("generate_requests_total", "counter", "Requests, by how they ended.", &|text, source| {
        for (answer, name) in RequestEnd::ALL {
            let count = source.answers[answer as usize].load(Ordering::Relaxed);
            let _ = writeln!(
                text,
                "generate_requests_total{{source=\"{}\",outcome=\"{name}\"}} {count}",
                source.source
            );
        }
    });
    let single: [(&str, &str, &str, Field); 4] = [
        ("generate_prompt_tokens_total", "counter", "Tokens of prompts read.", |source| {
            &source.prompt_tokens
        }),
        ("generate_tokens_total", "counter", "Tokens written.", |source| &source.generated_tokens),
        ("generate_queue_depth", "gauge", "Requests that wait for their turn.", |source| &source.queue_depth),
        ("generate_active_rows", "gauge", "Sequences that are being continued.", |source| {
            &source.active_rows
        }),
    ];
    for (name, kind, help, field) in single {
        family(name, kind, help, &|text, source| {
            let value = field(source).load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}{{source=\"{}\"}} {value}", source.source);
        });
    }
    let name = "generate_time_to_first_token_seconds";
    family(name, "histogram", "From a request to its first token.", &|text, source| {
        source.first_token.write(text, name, &source.source);
    });
    let name = "generate_token_latency_seconds";
    family(name, "histogram", "From one token of an answer to the next.", &|text, source| {
        source.token.write(text, name, &source.source);
    });
    if let Some(bytes) = resident_bytes() {
        let name = "process_resident_memory_bytes";
        let _ = writeln!(text, "# HELP {name} Resident memory.\n# TYPE {name} gauge\n{name} {bytes}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_a_bound_belongs_to_its_bucket() {
        let metrics = SourceMetrics::new("a\"b");
        for millis in [5, 6, 60_000] {
            metrics.first_token(Duration::from_millis(millis));
        }
        metrics.count(RequestEnd::Failed);
        let text = render(&[&metrics]);
        for line in [
            r#"generate_time_to_first_token_seconds_bucket{source="a\"b",le="0.005"} 1"#,
            r#"generate_time_to_first_token_seconds_bucket{source="a\"b",le="0.01"} 2"#,
            r#"generate_time_to_first_token_seconds_bucket{source="a\"b",le="30"} 2"#,
            r#"generate_time_to_first_token_seconds_bucket{source="a\"b",le="+Inf"} 3"#,
            r#"generate_time_to_first_token_seconds_sum{source="a\"b"} 60.011"#,
            r#"generate_requests_total{source="a\"b",outcome="failed"} 1"#,
            r#"generate_requests_total{source="a\"b",outcome="stop"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n---\n{text}");
        }
    }
}
