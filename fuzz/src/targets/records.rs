//! Files of records, in every form.

use std::sync::LazyLock;

use alpaca_data::{
    ChatTemplate, PromptTemplate, ReadConfig, Templates, TokenizeConfig, load_kinds, load_records,
    load_training_texts, tokenize,
};
use llama_tokenizer::LlamaTokenizer;

use crate::Target;
use crate::files::directory;
use crate::seeds::goldens;

const SEEDS: [&str; 8] = [
    r#"[{"instruction": "Add.", "input": "1 1", "output": "2", "kind": "sum"}, {"instruction": "Go", "output": "x"}]"#,
    "{\"instruction\": \"a\", \"input\": \"\", \"output\": \"b\"}\n{\"instruction\": \"\\u00e9\", \"output\": \"\\ud83e\\udd99\"}\n",
    "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": \"u\"}, {\"role\": \"assistant\", \
     \"content\": \"a\"}]}\n",
    "{\"conversations\": [{\"from\": \"human\", \"value\": \"u\"}, {\"from\": \"gpt\", \"value\": \"a\"}], \"system\": \"s\"}\n",
    "{\"text\": \"Once upon a time\"}\n{\"text\": \"\"}\n",
    r#"{"data": [{"instruction": "a", "output": "b"}]}"#,
    r#"{"instruction": ["a"], "output": ["b"]}"#,
    "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"instruction\": \"a\", \"output\": [\"b\"], \"history\": [[\"q\", \"a\"]]}",
];

/// Where what is read is rendered and tokenised.
static SCENE: LazyLock<(Templates, Templates, LlamaTokenizer)> = LazyLock::new(|| {
    let prompt = || PromptTemplate::load("alpaca").expect("a built-in template");
    let chat = "{% for m in messages %}{{ m.role }}: {% generation %}{{ m.content }}{% endgeneration %}\n{% endfor %}";
    let chat = ChatTemplate::new(chat.to_owned(), "<s>", "</s>");
    let [model] = goldens!("llama-tokenizer/tests/goldens/tiny.model");
    let dir = directory("tokenizer of records", &[("tokenizer.model", model)]);
    let tokenizer = LlamaTokenizer::open(&dir).expect("the golden tokenizer");
    let plain = Templates { prompt: prompt(), chat: None };
    (plain, Templates { prompt: prompt(), chat: Some(chat) }, tokenizer)
});

pub(super) const TARGET: Target = Target {
    name: "records",
    reads: "records (JSON, JSON Lines; Alpaca, text, messages, ShareGPT): `alpaca_data`, rendered and tokenised",
    limit_s: 4,
    seeds: || SEEDS.map(|text| text.as_bytes().to_vec()).to_vec(),
    run: |bytes| {
        let (plain, chat, tokenizer) = &*SCENE;
        let path = directory("records", &[("records.json", bytes)]).join("records.json");
        let _ = (load_records(&path, ReadConfig::default()), load_kinds(&path));
        let _ = load_training_texts(&path, ReadConfig::default(), chat);
        let config = ReadConfig { bad: alpaca_data::BadRecords::Skip, ..ReadConfig::default() };
        let texts = load_training_texts(&path, config, plain)?;
        tokenize(&texts.records, tokenizer, &TokenizeConfig::default())?;
        Ok(())
    },
};
