//! Many clients at once.

mod common;

use std::time::{Duration, Instant};

use common::{Echo, config, source, start};
use serde_json::json;

/// Clients at once.
const CLIENTS: usize = 64;

#[test]
fn sixty_four_concurrent_clients_each_get_their_own_answer() {
    let echo = Echo { step: Duration::from_millis(2), ..Echo::default() };
    let server = start(vec![source("echo", echo, None)], config());
    let ask = |text: &str| {
        let body = json!({ "prompt": text, "max_tokens": 64, "temperature": 0 });
        server.post("/v1/completions", &body.to_string()).json()["choices"][0]["text"].clone()
    };
    let begun = Instant::now();
    assert_eq!(ask("a text of so many characters"), "a text of so many characters");
    let alone = begun.elapsed();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let text = format!("client {client} asks for this");
                assert_eq!(ask(&text), *text);
            });
        }
    });
    let together = begun.elapsed();
    // One after another they would take 64 times as long; a step costs the same for 16 rows as for one.
    assert!(together < alone * 32, "{together:?} together, {alone:?} alone");
    let answered = server.metric("generate_requests_total{source=\"echo\",outcome=\"stop\"}");
    assert!((answered - (CLIENTS + 1) as f64).abs() < 0.5);
}

#[test]
fn every_line_of_the_metrics_is_prometheus_text() {
    let server = start(vec![source("echo", Echo::default(), None)], config());
    server.assert_alive();
    let page = server.get("/metrics");
    assert!(page.headers.contains("content-type: text/plain; version=0.0.4"), "{}", page.headers);
    let mut types = std::collections::HashMap::new();
    let mut samples = 0;
    for line in page.body.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            let name = series.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            assert!(types.contains_key(name) || types.contains_key(family.unwrap_or_default()), "{line}");
            samples += 1;
        }
    }
    assert!(samples > 30, "{samples}");
    assert!(server.metric("generate_time_to_first_token_seconds_count{source=\"echo\"}") >= 1.0);
    assert!(server.metric("process_resident_memory_bytes") > 1e6);
}
