"""Conversations tokenised by transformers' `apply_chat_template`, with its mask of the assistant's tokens.

    python make.py OUTPUT_DIRECTORY

The tokenizer is that of datasets/tiny-llama. transformers finds the assistant's tokens by `{% generation %}` tags, which the
templates in the golden file do not have: this project finds them by rendering the beginnings of a conversation.
"""

import json
import sys
from pathlib import Path

from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[4]

# Each turn under a header of its own, ended by the end token.
HEADERS = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] | trim + eos_token + '\n' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + eos_token + '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)

# The user's turns in brackets, a begin token before each, the system message inside the first.
BRACKETS = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set system = '<<' + messages[0]['content'] + '>> ' %}{% set turns = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
    "{% for message in turns %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}"
    "{% if message['role'] == 'user' %}"
    "{{ bos_token + '[Q] ' + (system if loop.first else '') + message['content'] + ' [A]' }}"
    "{% else %}{% generation %}{{ ' ' + message['content'] + eos_token }}{% endgeneration %}{% endif %}"
    "{% endfor %}"
)

CONVERSATIONS = [
    [("user", "Where is Hugo at home?"), ("assistant", "Hugo is at home in the cave.")],
    [
        ("system", "Answer in one word."),
        ("user", "Who is Mira's best friend?"),
        ("assistant", " Hugo "),
        ("user", "And what does he eat?\n\nBe brief."),
        ("assistant", "Plums – ünd “honey”."),
    ],
]


def main(out: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "datasets/tiny-llama")
    cases = []
    for name, tagged in [("headers", HEADERS), ("brackets", BRACKETS)]:
        template = tagged.replace("{% generation %}", "").replace("{% endgeneration %}", "")
        for turns in CONVERSATIONS:
            messages = [{"role": role, "content": content} for role, content in turns]
            plain = tokenizer.apply_chat_template(messages, chat_template=template)
            encoded = tokenizer.apply_chat_template(
                messages, chat_template=tagged, return_dict=True, return_assistant_tokens_mask=True
            )
            assert encoded["input_ids"] == plain
            cases.append(
                {
                    "template": name,
                    "source": template,
                    "tagged": tagged,
                    "messages": messages,
                    "input_ids": plain,
                    "assistant_mask": encoded["assistant_masks"],
                }
            )
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (out / "chat.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
