//! Chat templates: Jinja.

use alpaca_data::{ChatTemplate, Message};

use crate::Target;

const SEEDS: [&str; 5] = [
    // Llama 3.
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + \
     '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content \
     %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    // Llama 2.
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}\
     {% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if \
     (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% if message['role'] == \
     'user' %}{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}{% else %}{% generation %}{{ ' ' + \
     message['content'].strip() + ' ' + eos_token }}{% endgeneration %}{% endif %}{% endfor %}",
    // ChatML with tools.
    "{%- if tools %}{{- tools | tojson(indent=4) }}{%- endif %}{%- set ns = namespace(found=false, i=0) %}{%- for m in messages[::-1] %}{%- \
     set ns.i = ns.i + loop.length - 1 %}{{- '<|im_start|>' ~ m.role ~ '\\n' ~ m.content.split('</think>')[-1].lstrip('\\n') ~ '<|im_end|>\\n' \
     }}{%- if m.content.startswith('a') and not ns.found %}{%- break %}{%- endif %}{%- endfor %}",
    // Macros, filters and methods.
    "{% macro say(text, n=2) %}{{ text * n }}{% endmacro %}{{ say('ab') }}{{ 'x'.upper().replace('X', 'y') }}{{ [3, 1, 2] | sort | join(',') \
     }}{{ messages | length }}{{ messages | map(attribute='role') | list }}{{ '%s-%d' % ('a', 3) if false else 'b' | indent(2) }}{{ \
     strftime_now('%d %b %Y') }}{{ {'a': 1}.items() | list }}{{ range(3) | tojson }}{{ 2 ** 8 // 3 }}",
    "{# comment #}{% raw %}{{ x }}{% endraw %}{{ none is none and 1 is number }}{% call(x) f() %}{% endcall %}{% filter upper %}a{% endfilter %}",
];

pub(super) const TARGET: Target = Target {
    name: "chat_template",
    reads: "`chat_template.jinja`: `alpaca_data::ChatTemplate`, two conversations",
    // A rendering may take five seconds.
    limit_s: 12,
    seeds: || SEEDS.map(|text| text.as_bytes().to_vec()).to_vec(),
    run: |bytes| {
        let source = String::from_utf8_lossy(bytes).into_owned();
        let template = ChatTemplate::new(source, "<s>", "</s>");
        template.check()?;
        let turn = |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
        let messages = [
            turn("system", "Be brief. "),
            turn("user", "naïve\n{{ 1 }}"),
            turn("assistant", "<think>a</think>b"),
            turn("user", ""),
        ];
        let said = |reason: String| format!("`{reason}`");
        template.render(&messages, true).map_err(said)?;
        template.render_spans(&messages[1..3]).map_err(said)?;
        Ok(())
    },
};
