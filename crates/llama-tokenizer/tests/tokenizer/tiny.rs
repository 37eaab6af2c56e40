//! A small sentencepiece model that `goldens/make.py` trains.

use llama_tokenizer::LlamaTokenizer;
use serde::Deserialize;

use crate::golden;

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<i64>,
    decoded: String,
}

fn tiny() -> (LlamaTokenizer, Vec<Case>) {
    let cases = std::fs::read(golden("tiny.json")).unwrap();
    (LlamaTokenizer::from_file(&golden("tiny.model")).unwrap(), serde_json::from_slice(&cases).unwrap())
}

#[test]
fn ids_and_texts_equal_sentencepiece() {
    let (tokenizer, cases) = tiny();
    for case in &cases {
        assert_eq!(tokenizer.encode(&case.text, false).unwrap(), case.ids, "{:?}", case.text);
        assert_eq!(tokenizer.decode(&case.ids, true).unwrap(), case.decoded, "{:?}", case.text);
    }
    assert_eq!(tokenizer.vocab_size(), 400);
}

#[test]
fn offsets_name_the_bytes_of_each_token() {
    let (tokenizer, _) = tiny();
    let text = "the teacher — naïve 🙂";
    let (ids, offsets) = tokenizer.encode_with_offsets(text, true).unwrap();
    assert_eq!(ids, tokenizer.encode(text, true).unwrap());
    assert_eq!((ids[0], offsets[0]), (tokenizer.bos_id(), (0, 0)));
    assert_eq!(ids.len(), offsets.len());
    assert!(offsets[1..].iter().all(|&(start, end)| start <= end && text.get(start..end).is_some()));
    assert!(offsets[1..].is_sorted());
    assert_eq!(offsets[offsets.len() - 1].1, text.len());
    let covered: String = {
        let mut spans = offsets[1..].to_vec();
        spans.dedup();
        spans.iter().map(|&(start, end)| &text[start..end]).collect()
    };
    assert_eq!(covered, text);
}

#[test]
fn decoding_leaves_special_tokens_out_when_asked_to() {
    let (tokenizer, _) = tiny();
    let mut ids = tokenizer.encode("the village", true).unwrap();
    ids.push(tokenizer.eos_id());
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "the village");
    let whole = tokenizer.decode(&ids, false).unwrap();
    assert!(whole.starts_with("<s>") && whole.ends_with("</s>"), "{whole}");
}
