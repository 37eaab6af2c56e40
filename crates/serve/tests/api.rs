//! OpenAI's API, over a model that echoes its prompt.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Echo, config, source, start, start_plain};
use serde_json::{Value, json};

fn chunks(events: &[&str]) -> Vec<Value> {
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(*last, "[DONE]");
    chunks.iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect()
}

#[test]
fn streamed_text_equals_the_whole_answer() {
    let server = start_plain();
    let mut body = json!({ "model": "echo", "prompt": "naïve 🦙 text", "max_tokens": 100, "temperature": 0 });
    let whole = server.post("/v1/completions", &body.to_string()).json();
    assert_eq!(whole["choices"][0]["text"], "naïve 🦙 text");
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    // The begin token and the text's bytes; the same bytes without the end token.
    assert_eq!(whole["usage"], json!({ "prompt_tokens": 17, "completion_tokens": 16, "total_tokens": 33 }));

    body["stream"] = true.into();
    body["stream_options"] = json!({ "include_usage": true });
    let response = server.post("/v1/completions", &body.to_string());
    assert!(response.headers.contains("content-type: text/event-stream"), "{}", response.headers);
    let chunks = chunks(&response.events());
    let (usage, chunks) = chunks.split_last().unwrap();
    assert_eq!((&usage["usage"], &usage["choices"]), (&whole["usage"], &json!([])));
    let text: String = chunks.iter().map(|chunk| chunk["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(text, "naïve 🦙 text");
    let reasons: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["finish_reason"]).collect();
    assert_eq!(reasons.iter().filter(|reason| !reason.is_null()).count(), 1);
    assert_eq!(**reasons.last().unwrap(), "stop");
}

#[test]
fn an_answer_ends_at_max_tokens_or_before_a_stop_string() {
    let server = start_plain();
    let ask = |fields: &str| {
        let body = format!(r#"{{"prompt": "one two three", "top_k": 1, {fields}}}"#);
        let choice = server.post("/v1/completions", &body).json()["choices"][0].clone();
        (choice["text"].as_str().unwrap().to_owned(), choice["finish_reason"].as_str().unwrap().to_owned())
    };
    assert_eq!(ask(r#""max_tokens": 5"#), ("one t".to_owned(), "length".to_owned()));
    assert_eq!(ask(r#""stop": " three""#), ("one two".to_owned(), "stop".to_owned()));
    assert_eq!(ask(r#""stop": ["zzz", "tw"]"#), ("one ".to_owned(), "stop".to_owned()));
    assert_eq!(ask(r#""num_beams": 3, "temperature": 0"#), ("one two three".to_owned(), "stop".to_owned()));
    assert_eq!(ask(r#""temperature": 0.1, "seed": 3"#).0, "one two three");
}

#[test]
fn each_prompt_gets_its_own_choice() {
    let server = start_plain();
    let body = json!({ "prompt": ["a", "bc", "def"], "temperature": 0 });
    let answer = server.post("/v1/completions", &body.to_string()).json();
    let choices = answer["choices"].as_array().unwrap();
    let texts: Vec<(&Value, &Value)> =
        choices.iter().map(|choice| (&choice["index"], &choice["text"])).collect();
    assert_eq!(texts, [(&json!(0), &json!("a")), (&json!(1), &json!("bc")), (&json!(2), &json!("def"))]);
    let ids = json!({ "prompt": [104, 105], "temperature": 0 });
    assert_eq!(server.post("/v1/completions", &ids.to_string()).json()["choices"][0]["text"], "hi");
    let outside = json!({ "prompt": [104, 258], "temperature": 0 });
    assert!(server.post("/v1/completions", &outside.to_string()).error().starts_with("token 258 is not in"));
}

#[test]
fn a_chat_uses_the_chat_template_or_else_the_prompt_template() {
    let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>";
    let sources = vec![
        source("chat", Echo::default(), Some(template)),
        source("plain", Echo::default(), None),
        source("picky", Echo::default(), Some("{{ raise_exception('no system role here') }}")),
    ];
    let server = start(sources, config());
    let ask = |model: &str, stream: bool| {
        let messages = json!([
            { "role": "system", "content": "Answer." },
            { "role": "user", "content": [{ "type": "text", "text": "Hi" }] },
        ]);
        let body = json!({ "model": model, "messages": messages, "temperature": 0, "stream": stream });
        server.post("/v1/chat/completions", &body.to_string())
    };
    let answer = ask("chat", false).json();
    assert_eq!(answer["choices"][0]["message"]["content"], "<system>Answer.<user>Hi<assistant>");
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant");
    assert_eq!(ask("plain", false).json()["choices"][0]["message"]["content"], "Answer. | Hi");
    let refused = ask("picky", false);
    assert_eq!((refused.status, refused.error()), (400, "no system role here".to_owned()));

    let response = ask("plain", true);
    let chunks = chunks(&response.events());
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let content =
        |chunk: &Value| chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned();
    assert_eq!(chunks.iter().map(content).collect::<String>(), "Answer. | Hi");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
}

#[test]
fn unknown_models_are_not_found() {
    let server =
        start(vec![source("a", Echo::default(), None), source("b", Echo::default(), None)], config());
    let list = server.get("/v1/models").json();
    let names: Vec<&Value> = list["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(server.get("/v1/models/b").json()["id"], "b");
    for name in ["c", "../../etc/passwd", "/etc/passwd", "a/../b", "%2e%2e%2fa", "a\\u0000"] {
        let body = format!(r#"{{"model": "{name}", "prompt": "x"}}"#);
        let response = server.post("/v1/completions", &body);
        assert_eq!(
            (response.status, &response.json()["error"]["code"]),
            (404, &json!("model_not_found")),
            "{name}"
        );
    }
    assert_eq!(server.get("/v1/models/../../etc/passwd").status, 404);
    assert_eq!(server.get("/etc/passwd").status, 404);
    assert_eq!(server.get("/v1/completions").status, 405);
}

#[test]
fn unsupported_fields_are_refused_by_name_and_unknown_ones_ignored() {
    let server = start_plain();
    for (path, field, value) in [
        ("completions", "n", json!(2)),
        ("completions", "echo", json!(true)),
        ("completions", "logprobs", json!(5)),
        ("completions", "suffix", json!("x")),
        ("completions", "best_of", json!(2)),
        ("completions", "presence_penalty", json!(0.5)),
        ("completions", "logit_bias", json!({ "1": 2 })),
        ("chat/completions", "tools", json!([{ "type": "function" }])),
        ("chat/completions", "response_format", json!({ "type": "json_object" })),
        ("chat/completions", "logprobs", json!(true)),
    ] {
        let mut body = json!({ "prompt": "x", "messages": [{ "role": "user", "content": "x" }] });
        body[field] = value;
        let response = server.post(&format!("/v1/{path}"), &body.to_string());
        assert_eq!((response.status, &response.json()["error"]["param"]), (400, &json!(field)), "{field}");
    }
    let body =
        r#"{"prompt": "x", "temperature": 0, "store": true, "metadata": {"a": "b"}, "n": 1, "echo": false}"#;
    assert_eq!(server.post("/v1/completions", body).status, 200);
}

#[test]
fn the_page_gets_its_answer_as_events() {
    let server = start_plain();
    let ask = |stream: bool| {
        let body = json!({ "instruction": "Say it", "input": "now", "temperature": 0, "stream": stream });
        let response = server.post("/api/generate", &body.to_string());
        let events: Vec<Value> =
            response.events().iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        events
    };
    for stream in [true, false] {
        let events = ask(stream);
        assert_eq!(events[0], json!({ "type": "begin", "prompt_tokens": 13 }));
        let texts: Vec<&str> = events.iter().filter_map(|event| event["text"].as_str()).collect();
        assert_eq!(texts.concat(), "Say it | now");
        assert!(stream || texts.len() == 1, "an answer that does not stream comes at once");
        let end = events.last().unwrap();
        assert_eq!(
            (&end["type"], &end["finish"], &end["tokens"]),
            (&json!("end"), &json!("stop"), &json!(12))
        );
    }
    assert!(server.post("/api/generate", r#"{"instruction": " "}"#).error().contains("instruction is empty"));
    let info = server.get("/api/info").json();
    assert_eq!(info["sources"][0]["name"], "echo");
    assert_eq!(info["defaults"]["top_k"], 40);
    assert!(server.get("/").body.starts_with("<!doctype html>"));
}
