use super::*;
use infer::{BoxError, TokenText};

fn message(role: &str, content: &str) -> Message {
    Message { role: role.to_owned(), content: content.to_owned() }
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source.to_owned(), "<s>", "</s>").unwrap()
}

/// The template of Zephyr, which the chat model of `TinyLlama` has too.
const ZEPHYR: &str = "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}";

#[test]
fn blocks_are_trimmed_as_transformers_does() {
    // As jinja2 renders it with the settings of transformers (trim_blocks, lstrip_blocks).
    let text = template(ZEPHYR).render(&[message("system", "Be brief."), message("user", "Hi")]).unwrap();
    assert_eq!(text, "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\n");
}

#[test]
fn pythons_methods_namespaces_and_slices_work() {
    let source = "{%- set ns = namespace(n=0) -%}{%- for m in messages[1:] -%}{%- set ns.n = ns.n + 1 -%}\
                  {%- for key, value in m.items() -%}{{ key }}={{ value.strip().split('|')[0] }};{%- endfor -%}\
                  {%- endfor -%}{{ ns.n }}{{ bos_token }}";
    let text = template(source).render(&[message("system", "x"), message("user", " a|b ")]).unwrap();
    assert_eq!(text, "role=user;content=a;1<s>");
}

#[test]
fn json_is_pythons() {
    let source = "{{ messages[0] | tojson }}{{ [1, true, none] | tojson(indent=2) }}";
    let text = template(source).render(&[message("user", "<é>\"")]).unwrap();
    // json.dumps(..., ensure_ascii=False), and the same with indent=2.
    let expected = "{\"role\": \"user\", \"content\": \"<é>\\\"\"}[\n  1,\n  true,\n  null\n]";
    assert_eq!(text, expected);
}

#[test]
fn a_templates_refusal_is_its_own_sentence() {
    let source = "{{ raise_exception('roles must alternate') }}";
    assert_eq!(template(source).render(&[]).unwrap_err(), "roles must alternate");
    let year: String = template("{{ strftime_now('%Y') }}").render(&[]).unwrap();
    assert!(year.parse::<u32>().unwrap() >= 2024, "{year}");
}

#[test]
fn a_loop_without_an_end_is_ended() {
    let source = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
    assert!(template(source).render(&[]).is_err());
}

#[test]
fn a_damaged_template_is_no_template() {
    let error = ChatTemplate::new("{% if %}".to_owned(), "", "").unwrap_err();
    assert!(error.to_string().starts_with("the chat template cannot be read: "), "{error}");
}

struct Bracketed;

impl TokenText for Bracketed {
    fn decode(&self, _: &[i64]) -> Result<String, BoxError> {
        Ok(String::new())
    }
}

impl SourceText for Bracketed {
    fn encode(&self, _: &str, _: bool) -> Result<Vec<i64>, BoxError> {
        Ok(Vec::new())
    }

    fn instruction_prompt(&self, instruction: &str, input: &str) -> String {
        format!("[{instruction}/{input}]")
    }
}

#[test]
fn without_a_chat_template_each_turn_of_the_user_is_an_instruction() {
    let text = |messages: &[Message]| by_instructions(&Bracketed, messages);
    assert_eq!(text(&[message("user", " Hi ")]).unwrap(), "[Hi/]");
    let with_system = [message("system", "Translate."), message("user", "Hi")];
    assert_eq!(text(&with_system).unwrap(), "[Translate./Hi]");
    let turns = [message("user", "Hi"), message("assistant", "Ho"), message("user", "And?")];
    assert_eq!(text(&turns).unwrap(), "[Hi/]Ho\n\n[And?/]");
    assert!(text(&[message("tool", "x")]).unwrap_err().starts_with("role `tool`"));
    assert!(text(&turns[..2]).unwrap_err().contains("`assistant`"));
}
