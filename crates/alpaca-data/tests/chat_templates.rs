//! Chat templates render as transformers renders them, within bounds.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use alpaca_data::{ChatTemplate, Message};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Golden {
    tokens: Map<String, Value>,
    messages: Vec<Message>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    template: String,
    text: Option<String>,
}

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/templates.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn render(template: &str) -> Result<String, String> {
    let Golden { tokens, messages, .. } = golden();
    ChatTemplate::new(template.to_owned(), "?", "?").with_tokens(&tokens).render(&messages, true)
}

#[test]
fn texts_equal_transformers_apply_chat_template() {
    let cases = golden().cases;
    assert!(cases.len() > 15);
    for Case { name, template, text } in cases {
        let rendered = render(&template);
        match text {
            Some(text) => assert_eq!(rendered.as_ref(), Ok(&text), "{name}"),
            None => assert!(rendered.is_err(), "{name}: {rendered:?}"),
        }
    }
}

#[test]
fn a_template_that_doubles_a_text_is_stopped() {
    for (template, reason) in [
        (
            "{% set n = namespace(s='aaaa') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
            "MiB",
        ),
        (
            "{% set n = namespace(s='aaaa') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
            "MiB",
        ),
        (
            "{% set n = namespace(s='aaaa') %}{% for i in range(60) %}{% set n.s = n.s * 2 %}{% endfor %}{{ n.s }}",
            "large",
        ),
        (
            "{% set n = namespace(s='aaaa') %}{% for i in range(60) %}{% set n.s = '%s%s' % (n.s, n.s) %}{% endfor %}",
            "MiB",
        ),
        (
            "{% set n = namespace(s='aaaa') %}{% for i in range(60) %}{% set n.s = n.s.replace('a', 'aa') %}{% endfor %}",
            "MiB",
        ),
        (
            "{% set n = namespace(s='aaaa') %}{% for i in range(60) %}{% set n.s = [n.s, n.s]|join %}{% endfor %}",
            "MiB",
        ),
        (
            "{% macro f(s, n) %}{% if n %}{{ f(s + s, n - 1) }}{% else %}{{ s }}{% endif %}{% endmacro %}{{ f('aaaa', 40) }}",
            "MiB",
        ),
        (
            "{% set n = namespace(s='aaaa') %}{% for i in range(60) %}{% set x %}{{ n.s }}{{ n.s }}{% endset %}\
             {% set n.s = x %}{% endfor %}",
            "text",
        ),
        (
            "{% set n = namespace(s=['a']) %}{% for i in range(60) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}",
            "text",
        ),
        (
            "{% set n = namespace(s=['a']) %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
            "MiB",
        ),
        ("{{ '%999999999d' % 1 }}", "more than 10000"),
        ("{{ 'a'.center(999999999) }}", "more than 10000"),
        ("{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}", "steps"),
    ] {
        let error = render(template).unwrap_err();
        assert!(error.contains(reason), "{template}: {error}");
    }
}
