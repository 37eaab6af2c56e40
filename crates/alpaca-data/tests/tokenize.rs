//! An example is BOS, prompt, answer, EOS; only what is learnt carries a label.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use alpaca_data::{
    BadRecords, Example, PromptTemplate, Record, Templates, TokenizeConfig, load_records,
    load_training_texts, pack_documents, tokenize, tokenize_records,
};
use llama_tokenizer::LlamaTokenizer;
use nn_core::IGNORE_INDEX;

fn datasets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets")
}

fn tokenizer() -> LlamaTokenizer {
    LlamaTokenizer::from_dir(&datasets().join("tiny-llama")).unwrap()
}

fn records() -> Vec<Record> {
    load_records(&datasets().join("mini_data.json"), BadRecords::Refuse).unwrap().records
}

#[test]
fn the_labels_are_the_answer_and_eos() {
    let (tokenizer, template, records) = (tokenizer(), PromptTemplate::load("alpaca").unwrap(), records());
    let config = TokenizeConfig { cutoff_len: 4096, train_on_inputs: false, add_eos_token: false };
    let (examples, report) = tokenize_records(&records, &template, &tokenizer, &config).unwrap();
    assert_eq!(report.examples, 64);
    for (record, example) in records.iter().zip(&examples) {
        assert_eq!(example.input_ids[0], tokenizer.bos_id());
        let learnt: Vec<i64> =
            example.labels.iter().copied().filter(|&label| label != IGNORE_INDEX).collect();
        assert_eq!(learnt.last(), Some(&tokenizer.eos_id()));
        assert_eq!(tokenizer.decode(&learnt, true).unwrap().trim(), record.output.trim());
        let kept = example.labels.iter().zip(&example.input_ids).filter(|(label, _)| **label != IGNORE_INDEX);
        assert!(kept.into_iter().all(|(label, id)| label == id));
    }
}

#[test]
fn train_on_inputs_learns_every_token() {
    let config = TokenizeConfig { cutoff_len: 4096, ..TokenizeConfig::default() };
    let template = PromptTemplate::load("alpaca").unwrap();
    let (examples, _) = tokenize_records(&records(), &template, &tokenizer(), &config).unwrap();
    assert!(examples.iter().all(|example| example.labels == example.input_ids));
}

#[test]
fn truncated_examples_end_without_eos() {
    let (tokenizer, template, records) = (tokenizer(), PromptTemplate::load("alpaca").unwrap(), records());
    let whole = TokenizeConfig { cutoff_len: 4096, ..TokenizeConfig::default() };
    let (whole, _) = tokenize_records(&records, &template, &tokenizer, &whole).unwrap();
    let cutoff_len = whole[0].input_ids.len();
    for cutoff_len in [cutoff_len, cutoff_len - 1, cutoff_len - 9] {
        let config = TokenizeConfig { cutoff_len, ..TokenizeConfig::default() };
        let (cut, report) = tokenize_records(&records[..1], &template, &tokenizer, &config).unwrap();
        assert_eq!(cut[0].input_ids, whole[0].input_ids[..cutoff_len]);
        let has_eos = cutoff_len == whole[0].input_ids.len();
        assert_eq!(cut[0].input_ids.last() == Some(&tokenizer.eos_id()), has_eos);
        // One token short, the text itself fits, and only its EOS has no room.
        assert_eq!(report.cut_off, usize::from(cutoff_len + 1 < whole[0].input_ids.len()));
    }
}

#[test]
fn a_record_whose_answer_is_cut_off_is_left_out_and_counted() {
    let (tokenizer, template) = (tokenizer(), PromptTemplate::load("alpaca").unwrap());
    let long = Record { instruction: "word ".repeat(200), input: String::new(), output: "yes".to_owned() };
    let short = Record { instruction: "Say yes.".to_owned(), ..long.clone() };
    let config = TokenizeConfig { cutoff_len: 128, train_on_inputs: false, add_eos_token: false };
    let (examples, report) =
        tokenize_records(&[long.clone(), short], &template, &tokenizer, &config).unwrap();
    assert_eq!((examples.len(), report.without_answer), (1, 1));
    let error = tokenize_records(&[long], &template, &tokenizer, &config).unwrap_err().to_string();
    assert!(error.contains("none of 1 records"), "{error}");
    let zero = TokenizeConfig { cutoff_len: 0, ..config };
    let error = tokenize_records(&records(), &template, &tokenizer, &zero).unwrap_err().to_string();
    assert_eq!(error, "cutoff_len is 0; it has to be at least 2");
}

#[test]
fn documents_are_packed_without_a_gap() {
    let tokenizer = tokenizer();
    let documents: Vec<String> =
        ["Mira is a fox.", "The owl sings."].repeat(10).into_iter().map(str::to_owned).collect();
    let packed = pack_documents(&documents, &tokenizer, 16).unwrap();
    let ids: Vec<i64> = packed.iter().flat_map(|example| example.input_ids.clone()).collect();
    let stream: Vec<i64> = documents
        .iter()
        .flat_map(|text| [tokenizer.encode(text, true).unwrap(), vec![tokenizer.eos_id()]].concat())
        .collect();
    assert_eq!(ids, stream[..ids.len()]);
    assert!(stream.len() - ids.len() < 16);
    assert!(pack_documents(&documents, &tokenizer, 1000).is_err());
}

#[test]
fn a_text_record_is_learnt_whole() {
    let tokenizer = tokenizer();
    let path = std::env::temp_dir().join(format!("alpaca-data-text-{}.jsonl", std::process::id()));
    let line = "Hugo is at home in the cave.";
    std::fs::write(
        &path,
        format!("{{\"text\": \"{line}\"}}\n{{\"instruction\": \"a\", \"output\": \"b\"}}\n"),
    )
    .unwrap();
    let templates = Templates { prompt: PromptTemplate::load("alpaca").unwrap(), chat: None };
    let texts = load_training_texts(&path, BadRecords::Refuse, &templates).unwrap().records;
    std::fs::remove_file(&path).unwrap();
    let config = TokenizeConfig { train_on_inputs: false, ..TokenizeConfig::default() };
    let (examples, _) = tokenize(&texts, &tokenizer, &config).unwrap();
    assert_eq!(examples.len(), 2);
    let by_hand =
        [vec![tokenizer.bos_id()], tokenizer.encode(line, false).unwrap(), vec![tokenizer.eos_id()]].concat();
    assert_eq!(examples[0].input_ids, by_hand);
    assert_eq!(examples[0].labels[1..], by_hand[1..]);
    assert_eq!(
        Example::text(&tokenizer, line).unwrap(),
        Example { labels: by_hand.clone(), input_ids: by_hand }
    );
}
