"""The official `openai` package against a running server.

    pip install openai
    python openai_client.py http://127.0.0.1:7860/v1 [KEY]

Prints one line for each thing it has seen, and leaves with 1 at the first that is wrong.
"""

import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2] if len(sys.argv) > 2 else "none", max_retries=0)


def check(holds, what):
    print(("ok: " if holds else "WRONG: ") + what)
    if not holds:
        sys.exit(1)


models = [model.id for model in client.models.list()]
check(len(models) > 0, f"models: {models}")
model = models[0]
check(client.models.retrieve(model).id == model, "one model by its name")

whole = client.completions.create(model=model, prompt="Once upon a time", max_tokens=12, temperature=0)
text = whole.choices[0].text
check(whole.choices[0].finish_reason in ("stop", "length"), f"completion: {text!r}")
check(0 < whole.usage.completion_tokens <= 12, f"usage: {whole.usage.total_tokens} tokens")

stream = client.completions.create(
    model=model, prompt="Once upon a time", max_tokens=12, temperature=0, stream=True, stream_options={"include_usage": True}
)
chunks = list(stream)
streamed = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
check(streamed == text, f"the stream is the same text, in {len(chunks)} chunks")
check(chunks[-1].usage == whole.usage, "the stream's usage is the same")

two = client.completions.create(model=model, prompt=["Once upon a time", "The cat"], max_tokens=12, temperature=0)
check([choice.index for choice in two.choices] == [0, 1] and two.choices[0].text == text, "two prompts at once")

again = [
    client.completions.create(
        model=model, prompt="Once", max_tokens=12, temperature=1.0, top_p=0.9, seed=7, extra_body={"top_k": 50}
    ).choices[0].text
    for _ in range(2)
]
check(again[0] == again[1], f"a seed repeats a draw: {again[0]!r}")

messages = [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "What is the opposite of hot?"}]
chat = client.chat.completions.create(model=model, messages=messages, max_tokens=12, temperature=0)
check(chat.choices[0].message.role == "assistant", f"chat: {chat.choices[0].message.content!r}")
deltas = client.chat.completions.create(model=model, messages=messages, max_tokens=12, temperature=0, stream=True)
streamed = "".join(chunk.choices[0].delta.content or "" for chunk in deltas)
check(streamed == chat.choices[0].message.content, "the chat's stream is the same text")

try:
    client.completions.create(model="no-such-model", prompt="x")
    check(False, "a model that does not exist is an error")
except openai.NotFoundError as error:
    check(error.code == "model_not_found", f"not found: {error.body['message']}")
several = client.completions.create(model=model, prompt="Once", n=3, max_tokens=4, seed=7)
check([choice.index for choice in several.choices] == [0, 1, 2], "three answers to one prompt")
scored = client.completions.create(model=model, prompt="Once upon", max_tokens=0, echo=True, logprobs=2)
logprobs = scored.choices[0].logprobs
check(scored.choices[0].text == "Once upon" and logprobs.token_logprobs[0] is None, f"echo: {logprobs.tokens}")
told = client.chat.completions.create(model=model, messages=messages, max_tokens=4, logprobs=True, top_logprobs=2)
check(all(len(token.top_logprobs) == 2 for token in told.choices[0].logprobs.content), "log-probabilities of a chat")
try:
    client.completions.create(model=model, prompt="x", presence_penalty=1)
    check(False, "presence_penalty is an error")
except openai.BadRequestError as error:
    check(error.param == "presence_penalty", f"refused: {error.body['message']}")
try:
    client.completions.create(model=model, prompt="x", max_tokens=10**9)
    check(False, "too many tokens are an error")
except openai.APIStatusError as error:
    check(error.status_code == 413, f"too large: {error.body['message']}")
print("all as expected")
