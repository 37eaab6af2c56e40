//! OpenAI's API, over a model that echoes its prompt.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Echo, config, source, start, start_empty, start_plain};
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
        ("completions", "n", json!(0)),
        ("completions", "logprobs", json!(21)),
        ("completions", "suffix", json!("x")),
        ("completions", "best_of", json!(2)),
        ("completions", "presence_penalty", json!(0.5)),
        ("completions", "logit_bias", json!({ "1": 2 })),
        ("chat/completions", "tools", json!([{ "type": "function" }])),
        ("chat/completions", "response_format", json!({ "type": "json_object" })),
        ("chat/completions", "top_logprobs", json!(3)),
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
        let begin = json!({ "type": "begin", "prompt_tokens": 13, "prompt": "<s>Say it | now" });
        assert_eq!(events[0], begin);
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

#[test]
fn a_completion_keeps_its_first_space_and_its_stop_strings_see_it() {
    let server = start_plain();
    let mut body = json!({ "prompt": " abc def", "max_tokens": 100, "temperature": 0 });
    let whole = |body: &Value| server.post("/v1/completions", &body.to_string()).json()["choices"][0].clone();
    assert_eq!(whole(&body)["text"], " abc def");
    body["echo"] = true.into();
    assert_eq!(whole(&body)["text"], " abc def abc def");
    body["stop"] = json!(["c d"]);
    assert_eq!(
        (&whole(&body)["text"], &whole(&body)["finish_reason"]),
        (&json!(" abc def ab"), &json!("stop"))
    );
    body["stream"] = true.into();
    let response = server.post("/v1/completions", &body.to_string());
    let text: Vec<String> = chunks(&response.events())
        .iter()
        .map(|chunk| chunk["choices"][0]["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(text.concat(), " abc def ab");
    body["stop"] = json!([" "]);
    body["echo"] = false.into();
    body["stream"] = false.into();
    assert_eq!(whole(&body)["text"], "");
    // An answer in a chat is a text of its own.
    let chat = json!({ "messages": [{ "role": "user", "content": "Hi" }], "temperature": 0 });
    assert_eq!(
        server.post("/v1/chat/completions", &chat.to_string()).json()["choices"][0]["message"]["content"],
        "Hi"
    );
}

/// Answers that are drawn from all tokens alike.
fn drawn(server: &common::Running, fields: &Value) -> Vec<String> {
    let mut body = json!({ "max_tokens": 12, "temperature": 2, "seed": 5 });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let answer = server.post("/v1/completions", &body.to_string()).json();
    let choices = answer["choices"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert!((0..).zip(choices).all(|(index, choice)| choice["index"] == index));
    choices.iter().map(|choice| choice["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn answers_of_one_request_are_drawn_independently_and_repeat_with_its_seed() {
    let unsure = Echo { certainty: 0.0, ..Echo::default() };
    let server = start(vec![source("unsure", unsure, None)], config());
    let several = json!({ "prompt": vec!["a"; 16] });
    let answers = drawn(&server, &several);
    let distinct: std::collections::HashSet<&String> = answers.iter().collect();
    assert_eq!((answers.len(), distinct.len()), (16, 16));
    assert_eq!(drawn(&server, &several), answers);
    assert_eq!(drawn(&server, &json!({ "prompt": "a", "n": 16, "best_of": 16 })), answers);
    assert_eq!(drawn(&server, &json!({ "prompt": "a" })), answers[..1]);
    assert_ne!(drawn(&server, &json!({ "prompt": "a", "seed": 6 })), answers[..1]);
    let chat = json!({ "messages": [{ "role": "user", "content": "a" }], "n": 3, "max_tokens": 12, "temperature": 2 });
    let chat = server.post("/v1/chat/completions", &chat.to_string()).json();
    let texts: std::collections::HashSet<&str> = chat["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| choice["message"]["content"].as_str().unwrap())
        .collect();
    assert_eq!(texts.len(), 3);
    assert_eq!(chat["usage"]["prompt_tokens"], 2);
}

#[test]
fn log_probabilities_are_those_of_the_model() {
    let server = start_plain();
    let body = json!({ "prompt": "ab", "max_tokens": 2, "temperature": 0, "logprobs": 2, "echo": true });
    let choice = server.post("/v1/completions", &body.to_string()).json()["choices"][0].clone();
    assert_eq!(choice["text"], "abab");
    let logprobs = &choice["logprobs"];
    assert_eq!(logprobs["tokens"], json!(["<s>", "a", "b", "a", "b"]));
    assert_eq!(logprobs["text_offset"], json!([0, 0, 1, 2, 3]));
    let values = logprobs["token_logprobs"].as_array().unwrap();
    assert!(values[0].is_null() && logprobs["top_logprobs"][0].is_null());
    let near = |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 1e-5;
    // Two thirds and one third in the prompt; the answer is certain.
    assert!(near(&values[1], (2.0_f64 / 3.0).ln()) && near(&values[2], (2.0_f64 / 3.0).ln()), "{values:?}");
    assert!(near(&logprobs["top_logprobs"][1]["b"], (1.0_f64 / 3.0).ln()), "{logprobs}");
    assert!(near(&values[3], 0.0) && near(&values[4], 0.0), "{values:?}");

    let prompt_only = json!({ "prompt": "ab", "max_tokens": 0, "logprobs": 0, "echo": true });
    let answer = server.post("/v1/completions", &prompt_only.to_string()).json();
    assert_eq!(answer["choices"][0]["text"], "ab");
    assert_eq!(answer["choices"][0]["logprobs"]["token_logprobs"].as_array().unwrap().len(), 3);
    assert_eq!(answer["usage"]["completion_tokens"], 0);

    let mut chat = json!({ "messages": [{ "role": "user", "content": "Hi" }], "temperature": 0, "logprobs": true, "top_logprobs": 1 });
    let whole = server.post("/v1/chat/completions", &chat.to_string()).json();
    let content = whole["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), 2, "the end token is no part of the answer");
    assert_eq!((&content[1]["token"], &content[1]["bytes"]), (&json!("i"), &json!([105])));
    assert_eq!(content[1]["top_logprobs"][0]["token"], "i");
    chat["stream"] = true.into();
    let response = server.post("/v1/chat/completions", &chat.to_string());
    let streamed: Vec<Value> = chunks(&response.events())
        .iter()
        .flat_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array().cloned().unwrap_or_default())
        .collect();
    assert_eq!(&streamed, content);
}

#[test]
fn texts_are_tokenised_and_back_as_llama_cpp_and_vllm_ask() {
    let server = start_plain();
    let ask = |path: &str, body: &Value| server.post(path, &body.to_string()).json();
    assert_eq!(ask("/tokenize", &json!({ "content": "hi" }))["tokens"], json!([104, 105]));
    assert_eq!(
        ask("/tokenize", &json!({ "content": "hi", "add_special": true }))["tokens"],
        json!([256, 104, 105])
    );
    let pieces = ask("/tokenize", &json!({ "content": "hi", "with_pieces": true }));
    assert_eq!(pieces["tokens"][1], json!({ "id": 105, "piece": "i" }));
    let vllm = ask("/tokenize", &json!({ "model": "echo", "prompt": "hi", "return_token_strs": true }));
    assert_eq!((&vllm["count"], &vllm["tokens"]), (&json!(3), &json!([256, 104, 105])));
    assert_eq!((&vllm["token_strs"], &vllm["max_model_len"]), (&json!(["<s>", "h", "i"]), &json!(4096)));
    let chat = ask("/tokenize", &json!({ "messages": [{ "role": "user", "content": "hi" }] }));
    assert_eq!(chat["tokens"], json!([256, 104, 105]));
    let text = ask("/detokenize", &json!({ "tokens": [256, 104, 105] }));
    assert_eq!((&text["content"], &text["prompt"]), (&json!("<s>hi"), &json!("<s>hi")));
    for (path, body) in [
        ("/tokenize", json!({})),
        ("/tokenize", json!({ "content": "a", "prompt": "b" })),
        ("/tokenize", json!({ "content": "a", "parse_special": false })),
        ("/detokenize", json!({ "tokens": [258] })),
    ] {
        assert_eq!(server.post(path, &body.to_string()).status, 400, "{body}");
    }
}

#[test]
fn a_template_that_cannot_be_compiled_disables_chats_alone() {
    let server = start(
        vec![source("odd", Echo::default(), Some("{% nonsense %}")), source("b", Echo::default(), None)],
        config(),
    );
    let chat = json!({ "messages": [{ "role": "user", "content": "Hi" }], "temperature": 0 });
    let refused = server.post("/v1/chat/completions", &chat.to_string());
    assert_eq!(refused.status, 400);
    assert!(refused.error().starts_with("the chat template cannot be read: "), "{}", refused.body);
    server.assert_alive();
    let mut other = chat.clone();
    other["model"] = "b".into();
    assert_eq!(server.post("/v1/chat/completions", &other.to_string()).status, 200);
    let page = server.post("/api/generate", r#"{"instruction": "Say it"}"#);
    assert_eq!(page.status, 200);
}

#[test]
fn the_page_asks_by_a_built_in_template_or_a_conversation_and_reads_no_file() {
    let server = start_plain();
    let ask = |body: Value| server.post("/api/generate", &body.to_string());
    let sent = |body: Value| {
        let response = ask(body);
        let begin: Value = serde_json::from_str(response.events()[0]).unwrap();
        begin["prompt"].as_str().unwrap().to_owned()
    };
    assert_eq!(sent(json!({ "instruction": "Hi", "input": "you", "temperature": 0 })), "<s>Hi | you");
    assert_eq!(sent(json!({ "instruction": "Hi", "input": "you", "template": "none" })), "<s>Hi\nyou");
    assert!(sent(json!({ "instruction": "Hi", "template": "alpaca" })).contains("### Instruction:\nHi"));
    let messages = json!([{ "role": "user", "content": "Hi" }]);
    assert_eq!(sent(json!({ "messages": messages, "temperature": 0 })), "<s>Hi");
    for template in ["../../../etc/passwd", "/etc/hostname", ""] {
        let refused = ask(json!({ "instruction": "Hi", "template": template }));
        assert_eq!(refused.status, 400, "{}", refused.body);
        assert!(refused.error().contains("expected alpaca, "), "{}", refused.error());
    }
    assert_eq!(ask(json!({ "messages": [] })).status, 400);
}

#[test]
fn a_server_without_its_models_yet_says_so() {
    let (server, loader) = start_empty(config());
    loader.say("base (1 of 1)", 0, 1);
    let refused = server.post("/v1/completions", r#"{"prompt": "a"}"#);
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.error().contains("base (1 of 1)") && refused.headers.contains("retry-after: 1"));
    assert_eq!(server.get("/health").json()["status"], "loading");
    assert_eq!(server.get("/api/info").json()["loading"]["text"], "base (1 of 1)");
    let names =
        |names: &[&str]| names.iter().map(|name| source(name, Echo::default(), None)).collect::<Vec<_>>();
    assert!(loader.ready(names(&["a", "a"]), 2).is_err());
    loader.ready(names(&["a"]), 2).unwrap();
    assert_eq!(server.get("/health").json()["status"], "ok");
    let info = server.get("/api/info").json();
    assert_eq!((&info["loading"], &info["limits"]["num_beams"]), (&Value::Null, &2.into()));
    server.assert_alive();
}
