//! Conversations are rendered by the model's template, and only the assistant's turns are learnt.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use alpaca_data::{
    BadRecords, ChatTemplate, DataError, Example, Message, PromptTemplate, Templates, TokenizeConfig,
    TrainingText, load_training_texts, tokenize,
};
use llama_tokenizer::LlamaTokenizer;
use nn_core::IGNORE_INDEX;
use serde::Deserialize;
use serde_json::{Value, json};

/// A header before each turn, the end token after it.
const HEADERS: &str = "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + eos_token }}{% endfor %}\
                       {% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn tokenizer() -> LlamaTokenizer {
    LlamaTokenizer::from_dir(&root().join("datasets/tiny-llama")).unwrap()
}

fn templates(chat: Option<&str>) -> Templates {
    Templates {
        prompt: PromptTemplate::load("alpaca").unwrap(),
        chat: chat.map(|source| ChatTemplate::new(source.to_owned(), "<s>", "</s>")),
    }
}

/// Reads records through a file, as programs do.
fn read(records: &Value, templates: &Templates) -> Result<Vec<TrainingText>, DataError> {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("alpaca-data-chat-{}-{number}.json", std::process::id()));
    std::fs::write(&path, records.to_string()).unwrap();
    let texts = load_training_texts(&path, BadRecords::Refuse, templates);
    std::fs::remove_file(&path).unwrap();
    texts.map(|texts| texts.records)
}

fn tokenized(texts: &[TrainingText], train_on_inputs: bool, cutoff_len: usize) -> Vec<Example> {
    let config = TokenizeConfig { cutoff_len, train_on_inputs, ..TokenizeConfig::default() };
    tokenize(texts, &tokenizer(), &config).unwrap().0
}

fn learnt(text: &TrainingText) -> Vec<&str> {
    text.answers.iter().map(|range| &text.text[range.clone()]).collect()
}

fn refused(records: &Value, chat: Option<&str>) -> String {
    read(records, &templates(chat)).unwrap_err().to_string()
}

#[derive(Deserialize)]
struct Golden {
    template: String,
    source: String,
    /// The same with `{% generation %}` around the answers.
    tagged: String,
    messages: Vec<Message>,
    input_ids: Vec<i64>,
    assistant_mask: Vec<u8>,
}

#[test]
fn tokens_and_labels_equal_transformers_apply_chat_template() {
    let text = std::fs::read_to_string(root().join("crates/alpaca-data/tests/goldens/chat.json")).unwrap();
    let goldens: Vec<Golden> = serde_json::from_str(&text).unwrap();
    assert_eq!(goldens.len(), 4);
    for (golden, source) in
        goldens.iter().flat_map(|golden| [(golden, &golden.source), (golden, &golden.tagged)])
    {
        let texts = read(&json!([{ "messages": golden.messages }]), &templates(Some(source))).unwrap();
        let examples = tokenized(&texts, false, 512);
        assert_eq!(examples[0].input_ids, golden.input_ids, "{}", golden.template);
        let mask: Vec<u8> = examples[0].labels.iter().map(|&label| u8::from(label != IGNORE_INDEX)).collect();
        assert_eq!(mask, golden.assistant_mask, "{}", golden.template);
        let whole = tokenized(&texts, true, 512);
        assert_eq!(whole[0].labels, golden.input_ids, "{}", golden.template);
    }
}

#[test]
fn what_a_template_marks_is_learnt_and_no_more() {
    let marked = "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}\
                  {% endgeneration %}{% else %}{{ m.content }}{% endif %}</s>{% endfor %}";
    let mut turns = json!([
        { "role": "user", "content": "Hi" },
        { "role": "assistant", "content": "Ho" },
        { "role": "user", "content": "And?" },
        { "role": "assistant", "content": "No." },
    ]);
    let texts = read(&json!([{ "messages": turns }]), &templates(Some(marked))).unwrap();
    assert_eq!(texts[0].text, "<user>Hi</s><assistant>Ho</s><user>And?</s><assistant>No.</s>");
    assert_eq!(learnt(&texts[0]), ["Ho", "No."]);
    turns[1]["weight"] = 0.into();
    let texts = read(&json!([{ "messages": turns }]), &templates(Some(marked))).unwrap();
    assert_eq!(learnt(&texts[0]), ["No."]);
    let in_a_macro = "{% macro f(m) %}<{{ m.role }}>{% generation %}{{ m.content }}{% endgeneration %}{% endmacro %}\
                      {% for m in messages %}{{ f(m) }}{% endfor %}";
    let error = refused(&json!([{ "messages": turns }]), Some(in_a_macro));
    assert!(error.contains("not output where it stands"), "{error}");
}

#[test]
fn only_answers_and_their_end_tokens_are_learnt() {
    let record = json!([{ "messages": [
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": "Hi" },
        { "role": "assistant", "content": "Ho" },
        { "role": "user", "content": "And?" },
        { "role": "assistant", "content": "No more." },
        { "role": "user", "content": "Bye" },
    ]}]);
    let texts = read(&record, &templates(Some(HEADERS))).unwrap();
    let expected =
        "<|system|>Be brief.</s><|user|>Hi</s><|assistant|>Ho</s><|user|>And?</s><|assistant|>No more.</s>";
    assert_eq!(texts[0].text, expected);
    assert_eq!(learnt(&texts[0]), ["Ho</s>", "No more.</s>"]);
    let tokenizer = tokenizer();
    let example = &tokenized(&texts, false, 512)[0];
    assert_eq!(example.input_ids, tokenizer.encode(expected, false).unwrap());
    let ends = example.labels.iter().filter(|&&label| label == tokenizer.eos_id()).count();
    assert_eq!((ends, example.labels.last()), (2, Some(&tokenizer.eos_id())));
}

#[test]
fn a_weight_of_zero_leaves_an_answer_out() {
    let record = json!([{ "messages": [
        { "role": "user", "content": "Hi" },
        { "role": "assistant", "content": "Ho", "weight": 0 },
        { "role": "user", "content": "And?" },
        { "role": "assistant", "content": "No.", "weight": 1 },
    ]}]);
    let texts = read(&record, &templates(Some(HEADERS))).unwrap();
    assert_eq!(learnt(&texts[0]), ["No.</s>"]);
}

#[test]
fn sharegpt_and_openai_records_of_one_conversation_are_the_same() {
    let openai = json!({ "messages": [
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": "Hi" },
        { "role": "assistant", "content": "Ho" },
    ]});
    let sharegpt = json!({ "id": "x1", "conversations": [
        { "from": "system", "value": "Be brief." },
        { "from": "human", "value": "Hi" },
        { "from": "gpt", "value": "Ho" },
    ]});
    let alpaca = json!({ "instruction": "Say Ho.", "output": "Ho" });
    for chat in [None, Some(HEADERS)] {
        let texts = read(&json!([openai, sharegpt, alpaca]), &templates(chat)).unwrap();
        assert_eq!(texts[0], texts[1]);
        assert!(texts[2].text.contains("### Instruction:\nSay Ho."), "each record has its own format");
    }
}

#[test]
fn without_a_chat_template_training_text_is_what_the_server_asks_with() {
    let turns = [("user", "Hi"), ("assistant", " Ho "), ("system", "Translate."), ("user", "Ho")];
    let mut messages: Vec<Message> =
        turns.map(|(role, content)| Message { role: role.to_owned(), content: content.to_owned() }).to_vec();
    let templates = templates(None);
    let (asked, add_bos) = templates.next_turn(&messages).unwrap();
    messages.push(Message { role: "assistant".to_owned(), content: "Na".to_owned() });
    let texts = read(&json!([{ "messages": messages }]), &templates).unwrap();
    assert_eq!(texts[0].text, format!("{asked}Na"));
    assert_eq!(learnt(&texts[0]), ["Ho", "Na"]);
    assert!(add_bos && texts[0].add_special_tokens);
    let (example, tokenizer) = (&tokenized(&texts, false, 512)[0], tokenizer());
    assert_eq!(example.input_ids[0], tokenizer.bos_id());
    assert_eq!(example.labels.last(), Some(&tokenizer.eos_id()));
}

#[test]
fn a_conversation_is_cut_off_at_cutoff_len() {
    let record = json!([{ "messages": [
        { "role": "user", "content": "Hi" },
        { "role": "assistant", "content": "Ho and so on." },
    ]}]);
    let texts = read(&record, &templates(Some(HEADERS))).unwrap();
    let whole = &tokenized(&texts, false, 512)[0];
    let len = whole.input_ids.len();
    let cut = &tokenized(&texts, false, len - 2)[0];
    assert_eq!(
        (&cut.input_ids[..], &cut.labels[..]),
        (&whole.input_ids[..len - 2], &whole.labels[..len - 2])
    );
}

#[test]
fn a_template_whose_turns_change_when_others_follow_is_refused() {
    // As reasoning models have it: only the last answer keeps its thoughts.
    let thinking = "{% for m in messages %}{{ m.role + ':' }}\
                    {% if loop.last and m.role == 'assistant' %}{{ '<think></think>' }}{% endif %}\
                    {{ m.content + eos_token }}{% endfor %}\
                    {% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}";
    let turns = json!([
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": "b" },
        { "role": "user", "content": "c" },
        { "role": "assistant", "content": "d" },
    ]);
    let error = refused(&json!([{ "messages": turns }]), Some(thinking));
    assert!(error.contains("has a turn 2 that the chat template renders differently"), "{error}");
    let mut last_only = turns.clone();
    last_only[1]["weight"] = 0.into();
    let texts = read(&json!([{ "messages": last_only }]), &templates(Some(thinking))).unwrap();
    assert_eq!(learnt(&texts[0]), ["<think></think>d</s>"]);
}

#[test]
fn a_bad_conversation_is_named_by_record_turn_and_reason() {
    let user = json!({ "role": "user", "content": "a" });
    for (messages, reason) in [
        (json!("a"), "record 0 (line 1) has turns that are a string; expected a list"),
        (json!([]), "has no turn of the assistant to learn"),
        (json!([user]), "has no turn of the assistant to learn"),
        (json!([user, "b"]), "has a turn 2 that is a string; expected an object with role and content"),
        (json!([user, { "role": "tool", "content": "b" }]), "has a turn 2 that is of role `tool`; expected"),
        (json!([user, { "content": "b" }]), "has a turn 2 that has no `role`"),
        (json!([user, { "role": "assistant", "content": null }]), "has a turn 2 that has no `content`"),
        (json!([user, { "role": "assistant", "content": ["b"] }]), "has an `content` that is an array"),
        (
            json!([user, { "role": "assistant", "content": "b", "tool_calls": [{}] }]),
            "turn 2 that calls a tool",
        ),
    ] {
        let error = refused(&json!([{ "messages": messages }]), Some(HEADERS));
        assert!(error.contains(reason), "{error}");
    }
    let answer = json!({ "role": "assistant", "content": "b" });
    let strict = "{{ raise_exception('roles must alternate') }}";
    let error = refused(&json!([{ "messages": [user, answer] }]), Some(strict));
    assert!(error.contains("does not fit the template: roles must alternate"), "{error}");
    let error = refused(&json!([{ "messages": [answer] }]), None);
    assert!(error.contains("does not fit the template: `messages` is empty"), "{error}");
}
