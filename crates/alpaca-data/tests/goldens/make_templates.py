"""Chat templates rendered by transformers' `apply_chat_template`, feature by feature.

    python make_templates.py OUTPUT_DIRECTORY

The tokenizer is that of datasets/tiny-llama with more special tokens. A case holds the rendered text, or null where transformers
raises.
"""

import json
import sys
from pathlib import Path

from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[4]

TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "sep_token": "<sep>",
    "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
    "image_token": "<image>",
}

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is \"Hugo\"?\nTell me, O'Neill & <b>."},
    {"role": "assistant", "content": " In the cave. "},
    {"role": "user", "content": ""},
]

TEMPLATES = {
    "tokens": "{{ bos_token }}{{ eos_token }}{{ unk_token }}{{ pad_token }}{{ sep_token }}{{ image_token }}"
    "{{ additional_special_tokens }}{{ additional_special_tokens[-1] }}{{ cls_token is defined }}{{ mask_token }}",
    "format": "{{ '%d of %s' % (loop_count | default(3), bos_token) }}{% for m in messages %}"
    "{{ '[%02d|%-9s]' % (loop.index, m.role) }}{{ '%s' % m.content }}{{ '%d%%' % loop.index0 }}{{ '%.2f' % 1.5 }}"
    "{{ loop.index % 2 }}{{ -7 % 3 }}{{ 7.5 % 2 }}{% endfor %}{{ '%(a)s/%(b)d' % {'a': 'x', 'b': 4} }}",
    "slices": "{{ messages[-1].content[::-1] }}|{{ messages[1].content[::-1] }}|{{ messages[1:][0].content[2:-2:3] }}|"
    "{% for m in messages[::-1] %}{{ m.role[0] }}{% endfor %}|{% for m in [][::-1] %}x{% endfor %}|"
    "{{ 'abc'[5:] }}{{ 'abc'[-2:] }}{{ 'abcdef'[4:1:-2] }}{{ 'abc'[:1] ~ 'xyz'[1:2] }}",
    "operators": "{{ 'a' + 'b' + 'c' }}{{ 1 + 2 * 3 }}{{ 1 ~ 2 ~ none ~ true }}{{ 'ab' * 2 }}{{ '1' + 2 ~ 'x' * 2 }}"
    "{{ ([1] + [2, 'a'])|length }}{{ 7 // 2 }}{{ 2 ** 3 + 1 }}{{ 1.0 + 2 }}{{ true + 1 }}{{ 'a' + 'b' if 1 + 1 == 2 else 'c' }}",
    "texts": "{{ true }}{{ none }}{{ [1, 'a', none, 2.0] }}{{ {'a': \"it's\", 'b': [true]} }}{{ 1.0 }}{{ (1, 2)|list }}",
    "methods": "{% set c = messages[1].content %}{{ c.upper() }}{{ c.split('\\n')[0] }}{{ c.replace('O', 'o', 1) }}"
    "{{ c.startswith('Where') }}{{ c.find('Hugo') }}{{ c.removeprefix('Where') }}{{ c.partition(' ')[2] }}"
    "{{ ' x '.strip() }}{{ 'a-b-c'.rsplit('-', 1)[0] }}{{ '7'.zfill(3) }}{{ 'ab'.center(6, '*') }}{{ 'x'.join(['1', '2']) }}"
    "{{ '{}-{:>4}'.format('a', 7) }}{{ 'aXb'.swapcase() }}{{ messages[0].get('name', 'none') }}"
    "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{{ 'one two'.title() }}{{ 'a\\nb'.splitlines() }}",
    "filters": "{{ [1, 2]|join(', ') }}{{ messages|map(attribute='role')|join('+') }}{{ 'a\\n\\nb'|indent(2) }}"
    "{{ 'a\\nb'|indent(3, true) }}{{ 'aab'|replace('a', 'x', 1) }}{{ '%s!'|format('hi') }}{{ 3|string + 'x' }}"
    "{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ ' x '|trim }}{{ 'ab'|first }}{{ none|default('d', true) }}",
    "tojson": "{{ messages[1]|tojson }}{{ {'b': 'é\\u0001', 'a': [1, 1.5, 1e-7, 1e20, none, true, {}, []]}|tojson(indent=2) }}"
    "{{ {'b': 'é🦙', 'a': 1}|tojson(ensure_ascii=true, sort_keys=true) }}{{ [1, {'a': 2}]|tojson(separators=(',', ':')) }}"
    "{{ {1: 2}|tojson }}{{ [1]|tojson(indent='>') }}",
    "tools": "{% if tools is none and documents is none %}none{% endif %}{% if tools is defined %}defined{% endif %}",
    "generation": "{%- for m in messages -%}\n{% if m.role == 'assistant' %}\nA: {% generation %}\n{{ m.content + eos_token }}"
    "{{ loop.index }}\n{% endgeneration %}\n{% else %}\nU: {{ m.content }}\n{% endif %}\n{% endfor %}",
    "raw": "{% raw %}{{ a + b }}{% generation %}{% endraw %}{# {{ a % b }} #}{{ '{% generation %}' }}",
    "control": "{% for m in messages %}{% if loop.index == 3 %}{% break %}{% endif %}{% if loop.first %}{% continue %}{% endif %}"
    "{{ m.role }}{% endfor %}{% macro f(a, b='x' + 'y') %}[{{ a + b }}]{% endmacro %}{{ f('1') }}{{ f('2', b='z') }}"
    "{% set x %}{{ f('3') }}{% endset %}{{ x|length }}{% set ns = namespace(n=0) %}{% for m in messages %}"
    "{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "none in a sum": "{{ 'a' + none }}",
    "number in a sum": "{{ 'a' + 1 }}",
    "undefined in a sum": "{{ 'a' + nothing }}",
    "raise": "{{ raise_exception('no ' + messages[0].role) }}",
}


def main(out: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(
        ROOT / "datasets/tiny-llama",
        extra_special_tokens={"image_token": TOKENS["image_token"]},
        **{name: token for name, token in TOKENS.items() if name != "image_token"},
    )
    cases = []
    for name, template in TEMPLATES.items():
        try:
            text = tokenizer.apply_chat_template(TURNS, chat_template=template, tokenize=False, add_generation_prompt=True)
        except Exception:
            text = None
        cases.append({"name": name, "template": template, "text": text})
    golden = {"tokens": TOKENS, "messages": TURNS, "cases": cases}
    (out / "templates.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
