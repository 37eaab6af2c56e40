//! Bad input, limits, and clients that misbehave: a clear refusal each time, and a server that goes on.

mod common;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Bytes, Echo, Running, config, read_response, request, source, start, start_plain};
use infer::{BoxError, TokenText};
use serve::{Limits, ServeConfig, SourceText};

fn slow(limits: Limits) -> Running {
    let echo = Echo { step: Duration::from_millis(5), ..Echo::default() };
    start(vec![source("echo", echo, None)], ServeConfig { limits, ..config() })
}

const FOREVER: &str = r#"{"prompt": "forever", "max_tokens": 2000, "temperature": 0, "stream": true}"#;

#[test]
fn malformed_bodies_are_refused_and_the_server_goes_on() {
    let server = start_plain();
    for body in [
        &b""[..],
        b"{",
        b"[]",
        b"null",
        b"\"prompt\"",
        b"{\"prompt\": \"\xff\xfe\"}",
        b"{\"prompt\": 1}",
        b"{\"prompt\": {\"a\": 1}}",
        b"{\"prompt\": \"x\", \"max_tokens\": -1}",
        b"{\"prompt\": \"x\", \"max_tokens\": 1e99}",
        b"{\"prompt\": \"x\", \"temperature\": \"hot\"}",
        b"{\"prompt\": \"x\", \"temperature\": -1}",
        b"{\"prompt\": \"x\", \"top_p\": 7}",
        b"{\"prompt\": \"x\", \"num_beams\": 999999999999}",
        b"{\"prompt\": \"x\", \"stop\": 5}",
        b"{\"prompt\": []}",
        b"{\"prompt\": [[]]}",
        b"{\"prompt\": \"x\", \"prompt\": \"y\"}",
        b"{\"model\": \"echo\"}",
    ] {
        let shown = String::from_utf8_lossy(body);
        let response = server.raw(&request("/v1/completions", body, ""));
        assert_eq!(response.status, 400, "{shown}: {}", response.body);
        assert!(!response.error().is_empty(), "{shown}");
    }
    let nested = "[".repeat(100_000);
    assert_eq!(server.post("/v1/chat/completions", &format!("{{\"messages\": {nested}")).status, 400);
    let role = r#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#;
    assert_eq!(server.post("/v1/chat/completions", role).status, 400);
    server.assert_alive();
}

#[test]
fn randomly_damaged_json_never_crashes_the_server() {
    let server = start_plain();
    let whole = br#"{"model": "echo", "prompt": ["ab", "c"], "max_tokens": 4, "temperature": 0.5, "top_k": 3, "stop": ["x"], "stream": false}"#;
    let mut state = 12345_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut refused = 0;
    for _ in 0..300 {
        let mut body = whole.to_vec();
        for _ in 0..=random(3) {
            let at = random(body.len());
            match random(3) {
                0 => body[at] = random(256) as u8,
                1 => drop(body.drain(at..(at + 1 + random(8)).min(body.len()))),
                _ => body.insert(at, b"{}[]\",:0-.\\e\xff"[random(13)]),
            }
        }
        let response = server.raw(&request("/v1/completions", &body, ""));
        let shown = String::from_utf8_lossy(&body);
        assert!([200, 400, 404, 413].contains(&response.status), "{} {shown}", response.status);
        refused += usize::from(response.status != 200);
    }
    assert!(refused > 100, "the damage is real: {refused}");
    server.assert_alive();
}

#[test]
fn oversized_requests_get_413_with_the_limit() {
    let limits = Limits { body_bytes: 4000, prompt_tokens: 100, new_tokens: 50, ..Limits::default() };
    let server = start(vec![source("echo", Echo::default(), None)], ServeConfig { limits, ..config() });
    let long = "x".repeat(3000);
    for (body, reason) in [
        (format!(r#"{{"prompt": "{long}"}}"#), "the prompt has 3001 tokens; this server reads at most 100"),
        (
            r#"{"prompt": "x", "max_tokens": 51}"#.to_owned(),
            "max_tokens is 51; this server writes at most 50",
        ),
        (format!(r#"{{"prompt": "{long}{long}"}}"#), "the body is larger than 4000 bytes"),
    ] {
        let response = server.post("/v1/completions", &body);
        assert_eq!((response.status, response.error().as_str()), (413, reason));
    }
    // A body that hides its length is measured while it is read.
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    assert_eq!(server.raw(format!("{head}{chunk}{chunk}").as_bytes()).status, 413);
    server.assert_alive();
}

#[test]
fn a_prompt_and_its_answer_have_to_fit_the_context() {
    let echo = Echo { max_len: 40, ..Echo::default() };
    let server = start(vec![source("echo", echo, None)], config());
    let body = |tokens| format!(r#"{{"prompt": "123456789", "max_tokens": {tokens}, "temperature": 0}}"#);
    assert_eq!(server.post("/v1/completions", &body(30)).status, 200);
    let response = server.post("/v1/completions", &body(31));
    assert_eq!(
        (response.status, &response.json()["error"]["code"]),
        (413, &"context_length_exceeded".into())
    );
}

#[test]
fn a_full_queue_gets_429_with_retry_after() {
    let server = slow(Limits { rows: 1, queue_len: 2, ..Limits::default() });
    let busy: Vec<_> = (0..3)
        .map(|index| {
            let stream = server.send(&request("/v1/completions", FOREVER.as_bytes(), ""));
            if index == 0 {
                server.wait_for("generate_active_rows{source=\"echo\"}", 1.0);
            }
            stream
        })
        .collect();
    server.wait_for("generate_queue_depth{source=\"echo\"}", 2.0);
    let response = server.post("/v1/completions", FOREVER);
    assert_eq!((response.status, &response.json()["error"]["code"]), (429, &"rate_limit_exceeded".into()));
    let seconds = response.headers.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
    assert!((1..=60).contains(&seconds.parse::<u32>().unwrap()), "{seconds}");
    drop(busy);
    server.assert_alive();
}

#[test]
fn a_request_queued_too_long_gets_429() {
    let limits = Limits { rows: 1, queue_time: Duration::from_millis(100), ..Limits::default() };
    let server = slow(limits);
    let _busy = server.send(&request("/v1/completions", FOREVER.as_bytes(), ""));
    server.wait_for("generate_active_rows{source=\"echo\"}", 1.0);
    let response = server.post("/v1/completions", r#"{"prompt": "x"}"#);
    assert_eq!(response.status, 429, "{}", response.body);
    assert!(response.error().contains("has waited"), "{}", response.body);
}

#[test]
fn an_answer_ends_at_its_time_limit() {
    let server = slow(Limits { answer_time: Duration::from_millis(150), ..Limits::default() });
    let begun = Instant::now();
    let body = FOREVER.replace(", \"stream\": true", "");
    let answer = server.post("/v1/completions", &body).json();
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    let tokens = answer["usage"]["completion_tokens"].as_u64().unwrap();
    assert!(tokens > 2 && tokens < 1000, "{tokens}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    server.wait_for("generate_requests_total{source=\"echo\",outcome=\"time\"}", 1.0);
}

#[test]
fn a_disconnected_client_cancels_its_request() {
    for body in [FOREVER.to_owned(), FOREVER.replace("true", "false")] {
        let server = slow(Limits { rows: 1, ..Limits::default() });
        let answered = server.send(&request("/v1/completions", body.as_bytes(), ""));
        server.wait_for("generate_active_rows{source=\"echo\"}", 1.0);
        let waiting = server.send(&request("/v1/completions", body.as_bytes(), ""));
        server.wait_for("generate_queue_depth{source=\"echo\"}", 1.0);
        drop((answered, waiting));
        server.wait_for("generate_requests_total{source=\"echo\",outcome=\"cancelled\"}", 2.0);
        server.wait_for("generate_active_rows{source=\"echo\"}", 0.0);
        server.assert_alive();
    }
}

#[test]
fn a_client_that_does_not_read_delays_no_other() {
    let server = slow(Limits::default());
    let _deaf: Vec<_> =
        (0..8).map(|_| server.send(&request("/v1/completions", FOREVER.as_bytes(), ""))).collect();
    server.wait_for("generate_active_rows{source=\"echo\"}", 8.0);
    let begun = Instant::now();
    server.assert_alive();
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn an_incomplete_request_times_out() {
    let limits = Limits { idle_time: Duration::from_millis(200), ..Limits::default() };
    let server = start(vec![source("echo", Echo::default(), None)], ServeConfig { limits, ..config() });
    let whole = request("/v1/completions", br#"{"prompt": "x"}"#, "");
    let mut stream = server.send(&whole[..whole.len() - 3]);
    assert_eq!(read_response(&mut stream).status, 408);
    server.assert_alive();
}

#[test]
fn a_model_that_fails_or_panics_answers_500_and_goes_on() {
    let server = start_plain();
    let response = server.post("/v1/completions", r#"{"prompt": "please fail"}"#);
    assert_eq!(response.status, 500);
    assert!(response.error().starts_with("the answer failed: "), "{}", response.body);
    server.assert_alive();
    assert_eq!(server.post("/v1/completions", r#"{"prompt": "please panic"}"#).status, 500);
    server.assert_alive();
    let streamed = server.post("/v1/completions", r#"{"prompt": "please fail", "stream": true}"#);
    assert_eq!(streamed.status, 200);
    assert!(streamed.events()[0].contains("\"error\""), "{}", streamed.body);
}

#[test]
fn requests_need_the_key_and_a_local_host_name() {
    let with_key = ServeConfig { api_key: Some("secret".to_owned()), ..config() };
    let server = start(vec![source("echo", Echo::default(), None)], with_key);
    let body = br#"{"prompt": "x"}"#;
    for headers in
        ["", "Authorization: Bearer wrong\r\n", "Authorization: secret\r\n", "Authorization: Bearer\r\n"]
    {
        let response = server.raw(&request("/v1/completions", body, headers));
        assert_eq!((response.status, &response.json()["error"]["code"]), (401, &"invalid_api_key".into()));
    }
    let right = request("/v1/completions", body, "Authorization: Bearer secret\r\n");
    assert_eq!(server.raw(&right).status, 200);
    assert_eq!(server.get("/v1/models").status, 401);
    assert_eq!(server.get("/metrics").status, 401);
    assert_eq!(server.get("/health").status, 200);
    assert_eq!(server.get("/").status, 200);

    let server = start_plain();
    let other_host = String::from_utf8(request("/v1/completions", body, "")).unwrap();
    let other_host = other_host.replace("Host: localhost", "Host: evil.example");
    assert_eq!(server.raw(other_host.as_bytes()).status, 403);
    let as_form = String::from_utf8(request("/v1/completions", body, "")).unwrap();
    let as_form = as_form.replace("application/json", "text/plain");
    assert_eq!(server.raw(as_form.as_bytes()).status, 415);
}

#[test]
fn stopping_the_server_ends_its_streams() {
    let mut server = slow(Limits { new_tokens: 1_000_000, ..Limits::default() });
    let mut stream = server.send(&request("/v1/completions", FOREVER.as_bytes(), ""));
    let mut first = [0; 16];
    stream.read_exact(&mut first).unwrap();
    let begun = Instant::now();
    server.stop();
    assert!(begun.elapsed() < Duration::from_secs(15));
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("the server is being stopped"), "…{}", &rest[rest.len().saturating_sub(300)..]);
    assert!(std::net::TcpStream::connect(server.address).is_err());
}

#[test]
fn a_new_connection_takes_the_place_of_the_oldest_idle_one() {
    let limits = Limits { connections: 2, connections_per_address: 2, ..Limits::default() };
    let server = slow(limits);
    let busy = server.send(&request("/v1/completions", FOREVER.as_bytes(), ""));
    server.wait_for("generate_active_rows{source=\"echo\"}", 1.0);
    let mut idle = server.send(b"GET /health HTTP/1.1\r\nX: ");
    // Its request may be on the way for a second.
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(server.get("/health").status, 200);
    assert_eq!(idle.read(&mut [0; 1]).unwrap_or(0), 0, "the idle one is closed");
    drop(busy);
}

#[test]
fn connections_that_are_in_use_are_not_closed_for_others() {
    let server = slow(Limits { connections: 2, connections_per_address: 1, ..Limits::default() });
    let mut busy = server.send(&request("/v1/completions", FOREVER.as_bytes(), ""));
    busy.read_exact(&mut [0; 16]).unwrap();
    let mut refused = server.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(refused.read(&mut [0; 1]).unwrap_or(0), 0, "its address has a place already, in use");
    busy.read_exact(&mut [0; 16]).unwrap();
}

#[test]
fn a_head_that_does_not_end_is_cut_off_however_it_comes() {
    let limits = Limits { idle_time: Duration::from_millis(300), ..Limits::default() };
    let server = start(vec![source("echo", Echo::default(), None)], ServeConfig { limits, ..config() });
    let mut held = [server.send(b""), server.send(b"GET /health HTTP/1.1\r\nX: "), server.send(b"GET /he")];
    // One of them sends a byte now and then.
    for _ in 0..200 {
        if held[1].write_all(b"x").is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for stream in &mut held {
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
    }
    // After an answer the connection waits as long for the next.
    let mut kept = server.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(read_response(&mut kept).status, 200);
    assert_eq!(kept.read(&mut [0; 1]).unwrap_or(0), 0);
    server.assert_alive();
}

#[test]
fn a_body_has_to_come_at_the_least_rate() {
    let idle_time = Duration::from_millis(300);
    let limits = Limits { idle_time, body_bytes_per_s: 1000, ..Limits::default() };
    let server = start(vec![source("echo", Echo::default(), None)], ServeConfig { limits, ..config() });
    let whole = request("/v1/completions", format!(r#"{{"prompt": "{}"}}"#, "x".repeat(4000)).as_bytes(), "");
    let mut stream = server.send(&whole[..200]);
    for byte in &whole[200..] {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        if server.get("/health").status != 200 {
            break;
        }
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        if stream.peek(&mut [0; 1]).is_ok() {
            break;
        }
    }
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(read_response(&mut stream).status, 408);
}

#[test]
fn idle_connections_do_not_delay_the_end() {
    let mut server = start_plain();
    let mut held = [server.send(b""), server.send(b"GET /health HTTP/1.1\r\nX: ")];
    let mut kept = server.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(read_response(&mut kept).status, 200);
    // With a pause far longer than the test: only an end that closes them lets it return in time.
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        server.stop();
        let _ = sender.send(());
    });
    assert!(receiver.recv_timeout(Duration::from_secs(4)).is_ok(), "answers being written have five seconds");
    for stream in held.iter_mut().chain([&mut kept]) {
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
    }
}

#[test]
fn a_prompt_beyond_the_bytes_of_its_tokens_is_not_tokenised() {
    let mut counted = source("echo", Echo::default(), None);
    let calls = Arc::new(AtomicUsize::new(0));
    counted.text = Arc::new(Counted(calls.clone()));
    let template = "{% for m in messages %}{{ m.content * 50 }}{% endfor %}";
    let mut chat = source("chat", Echo::default(), Some(template));
    chat.text = Arc::new(Counted(calls.clone()));
    let limits = Limits { prompt_tokens: 100, ..Limits::default() };
    let server = start(vec![counted, chat], ServeConfig { limits, ..config() });
    // 100 tokens of at most four bytes.
    let long = "x".repeat(401);
    for (path, body) in [
        ("/v1/completions", format!(r#"{{"prompt": "{long}"}}"#)),
        ("/tokenize", format!(r#"{{"content": "{long}"}}"#)),
        (
            "/v1/chat/completions",
            format!(r#"{{"model": "chat", "messages": [{{"role": "user", "content": "{long}"}}]}}"#),
        ),
        (
            "/v1/chat/completions",
            r#"{"model": "chat", "messages": [{"role": "user", "content": "0123456789"}]}"#.to_owned(),
        ),
        ("/api/generate", format!(r#"{{"instruction": "{long}"}}"#)),
    ] {
        let response = server.post(path, &body);
        assert_eq!(response.status, 413, "{path}: {}", response.body);
        assert!(
            response.error().contains("bytes; this server reads at most 100 tokens"),
            "{}",
            response.body
        );
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    server.assert_alive();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

/// A tokenizer that counts its calls; its tokens have four bytes at most.
struct Counted(Arc<AtomicUsize>);

impl TokenText for Counted {
    fn decode(&self, ids: &[i64]) -> Result<String, BoxError> {
        Bytes.decode(ids)
    }
}

impl SourceText for Counted {
    fn encode(&self, text: &str, add_bos: bool) -> Result<Vec<i64>, BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        assert!(!text.contains("panic in the tokenizer"), "as the prompt says");
        Bytes.encode(text, add_bos)
    }

    fn max_token_bytes(&self) -> usize {
        4
    }
}

#[test]
fn a_panic_of_the_tokenizer_is_an_error_of_that_request() {
    let mut source = source("echo", Echo::default(), None);
    source.text = Arc::new(Counted(Arc::default()));
    let server = start(vec![source], config());
    for _ in 0..4 {
        let response = server.post("/v1/completions", r#"{"prompt": "panic in the tokenizer"}"#);
        assert_eq!(
            (response.status, response.error().contains("panicked")),
            (400, true),
            "{}",
            response.body
        );
    }
    server.assert_alive();
}

#[test]
fn a_template_that_doubles_its_text_is_refused_and_others_go_on() {
    let doubling = "{% set n = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}";
    let server = start(
        vec![source("echo", Echo::default(), None), source("d", Echo::default(), Some(doubling))],
        config(),
    );
    let chat = r#"{"model": "d", "messages": [{"role": "user", "content": "Hi"}]}"#;
    let response = server.post("/v1/chat/completions", chat);
    assert_eq!(response.status, 400);
    assert!(response.error().contains("more than 128 MiB of text"), "{}", response.body);
    server.assert_alive();
}
