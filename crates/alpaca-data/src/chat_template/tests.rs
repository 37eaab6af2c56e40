use super::*;

fn message(role: &str, content: &str) -> Message {
    Message { role: role.to_owned(), content: content.to_owned() }
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source.to_owned(), "<s>", "</s>")
}

/// The template of Zephyr, which the chat model of `TinyLlama` has too.
const ZEPHYR: &str = "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}";

#[test]
fn blocks_are_trimmed_as_in_transformers() {
    // As jinja2 renders it with the settings of transformers (trim_blocks, lstrip_blocks).
    let text =
        template(ZEPHYR).render(&[message("system", "Be brief."), message("user", "Hi")], true).unwrap();
    assert_eq!(text, "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\n");
}

#[test]
fn python_methods_namespaces_and_slices_work() {
    let source = "{%- set ns = namespace(n=0) -%}{%- for m in messages[1:] -%}{%- set ns.n = ns.n + 1 -%}\
                  {%- for key, value in m.items() -%}{{ key }}={{ value.strip().split('|')[0] }};{%- endfor -%}\
                  {%- endfor -%}{{ ns.n }}{{ bos_token }}";
    let text = template(source).render(&[message("system", "x"), message("user", " a|b ")], true).unwrap();
    assert_eq!(text, "role=user;content=a;1<s>");
}

#[test]
fn tojson_writes_json_as_python_does() {
    let source = "{{ messages[0] | tojson }}{{ [1, true, none] | tojson(indent=2) }}";
    let text = template(source).render(&[message("user", "<é>\"")], true).unwrap();
    // json.dumps(..., ensure_ascii=False), and the same with indent=2.
    let expected = "{\"role\": \"user\", \"content\": \"<é>\\\"\"}[\n  1,\n  true,\n  null\n]";
    assert_eq!(text, expected);
}

#[test]
fn the_templates_own_error_message_is_returned() {
    let source = "{{ raise_exception('roles must alternate') }}";
    assert_eq!(template(source).render(&[], true).unwrap_err(), "roles must alternate");
    let year: String = template("{{ strftime_now('%Y') }}").render(&[], true).unwrap();
    assert!(year.parse::<u32>().unwrap() >= 2024, "{year}");
}

#[test]
fn an_endless_loop_is_stopped() {
    let source = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
    assert!(template(source).render(&[], true).is_err());
}

#[test]
fn invalid_jinja_is_refused() {
    let error = template("{% if %}").check().unwrap_err().to_string();
    assert!(error.starts_with("the chat template cannot be read: "), "{error}");
    assert_eq!(template("{% if %}").render(&[], true).unwrap_err(), error);
    assert!(template(ZEPHYR).check().is_ok());
}

/// Wherever it stands: no conversation has to reach it first.
#[test]
fn a_filter_or_test_that_is_unknown_is_named_when_the_template_is_compiled() {
    for (source, name) in [
        ("{% if false %}{{ messages | shout }}{% endif %}", "filter `shout`"),
        ("{% filter shout %}a{% endfilter %}", "filter `shout`"),
        ("{% if messages is not loud %}{% endif %}", "test `loud`"),
        ("{{ (messages|length)|map('upper')|shout(1) }}", "filter `shout`"),
    ] {
        let error = template(source).check().unwrap_err().to_string();
        assert!(error.contains(name), "{source}: {error}");
        assert_eq!(template(source).render(&[], true).unwrap_err(), error);
    }
    let known = "{{ '|shout' }}{{ messages|length }}{% if x is not defined and messages is iterable %}{% endif %}\
                 {{ messages | map(attribute='role') | list | tojson }}{% if 'a' is in ['a'] %}{% endif %}\
                 {{ messages | selectattr('role', 'equalto', 'user') | list | length }}{# |shout #}\
                 {% raw %}{{ x | shout }}{% endraw %}{% filter upper %}a{% endfilter %}";
    template(known).check().unwrap();
}

#[test]
fn dates_equal_those_of_pythons_strftime() {
    // datetime.fromtimestamp(n, timezone.utc).strftime("%A %a %d %b %B %Y %y %m %H:%M:%S %%")
    let format = "%A %a %d %b %B %Y %y %m %H:%M:%S %%";
    let text = |unix_s| strftime(format, Timestamp::from_second(unix_s).unwrap()).unwrap();
    assert_eq!(text(0), "Thursday Thu 01 Jan January 1970 70 01 00:00:00 %");
    assert_eq!(text(1_709_210_096), "Thursday Thu 29 Feb February 2024 24 02 12:34:56 %");
    assert_eq!(text(4_107_542_399), "Sunday Sun 28 Feb February 2100 00 02 23:59:59 %");
    // The same with "%e %-d %I %p %j %F %T %D %c %x %X %K".
    let rare =
        strftime("%e %-d %I %p %j %F %T %D %c %x %X %K", Timestamp::from_second(1_709_210_096).unwrap());
    assert_eq!(
        rare.unwrap(),
        "29 29 12 PM 060 2024-02-29 12:34:56 02/29/24 Thu Feb 29 12:34:56 2024 02/29/24 12:34:56 %K"
    );
}

#[test]
fn a_panic_of_the_engine_is_an_error() {
    let error = guarded(|| -> String { panic!("as asked") }).unwrap_err();
    assert_eq!(sentence(&error), "the template engine (minijinja) panicked: as asked");
    // Where it does panic: a reversed slice of nothing, which is not given to it any more.
    let empty = template("{{ messages[::-1]|length }}{{ ''[::-1] }}{{ 'ab'[::-1] }}");
    assert_eq!(empty.render(&[], true).unwrap(), "0ba");
}

#[test]
fn a_token_that_a_file_denies_is_undefined() {
    let tokens = serde_json::json!({ "bos_token": null, "eos_token": "<end>", "pad_token": "<pad>" });
    let template = template("{{ bos_token is defined }}{{ eos_token }}{{ pad_token }}");
    let template = template.with_tokens(tokens.as_object().unwrap());
    assert_eq!(template.render(&[], true).unwrap(), "False<end><pad>");
}
