//! Files that are no tokenizer of LLaMA.

use std::error::Error;

use llama_tokenizer::{LlamaTokenizer, TokenizerError};

use crate::golden;

/// Returns the error of reading a file of these bytes, which names the file.
fn refusal(bytes: &[u8]) -> (TokenizerError, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.model");
    std::fs::write(&path, bytes).unwrap();
    let error = LlamaTokenizer::from_file(&path).expect_err("the file is refused");
    let text = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    assert!(text.contains(&*path.to_string_lossy()), "the file is not named: {text}");
    (error, text)
}

#[test]
fn a_model_cut_short_is_refused() {
    let bytes = std::fs::read(golden("tiny.model")).unwrap();
    // Pieces come first and settings last: a cut between two fields leaves a model without settings, which is refused
    // for those; a cut inside the last settings is found by the length of their message.
    for len in (0..bytes.len()).step_by(13).chain([bytes.len() - 1]) {
        let (error, text) = refusal(&bytes[..len]);
        assert!(
            matches!(error, TokenizerError::Damaged { .. } | TokenizerError::Unsupported { .. }),
            "{len}: {text}"
        );
    }
    let (_, text) = refusal(&bytes[..bytes.len() / 2]);
    assert!(text.contains("is not a whole SentencePiece model"), "{text}");
}

#[test]
fn a_sentencepiece_model_of_another_kind_is_rejected_with_its_setting() {
    // One piece `a`; then trainer_spec { model_type: UNIGRAM }.
    let unigram = b"\x0a\x03\x0a\x01a\x12\x02\x18\x01";
    let (_, text) = refusal(unigram);
    assert!(text.ends_with("trainer_spec.model_type = UNIGRAM; a LLaMA tokenizer has BPE"), "{text}");
    // BPE, but with a normalisation table.
    let table = b"\x0a\x03\x0a\x01a\x12\x02\x18\x02\x1a\x05\x12\x01x\x20\x00";
    let (_, text) = refusal(table);
    assert!(text.contains("normalizer_spec.precompiled_charsmap = a table"), "{text}");
    // BPE, but spaces are removed.
    let (_, text) = refusal(b"\x0a\x03\x0a\x01a\x12\x02\x18\x02\x1a\x02\x20\x01");
    assert!(text.contains("normalizer_spec.remove_extra_whitespaces = true"), "{text}");
}

#[test]
fn missing_begin_and_end_tokens_are_reported_with_the_candidates() {
    let (_, text) = refusal(b"\x0a\x03\x0a\x01a\x12\x02\x18\x02\x1a\x02\x20\x00");
    assert!(text.contains("has no begin of text token") && text.contains("<s>"), "{text}");
}

#[test]
fn files_of_another_format_are_refused() {
    let tiktoken = b"IQ== 0\nIg== 1\nIw== 2\n".as_slice();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:9e55\nsize 499723\n".as_slice();
    for bytes in [b"".as_slice(), b"PK\x03\x04", tiktoken, pointer, b"{\"model\": 1}", b"{"] {
        let (_, text) = refusal(bytes);
        assert!(text.contains("tokenizer.model"), "{text}");
    }
}

#[test]
fn a_directory_without_a_tokenizer_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let text = LlamaTokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(text.contains("neither tokenizer.json nor tokenizer.model"), "{text}");
    let absent = dir.path().join("absent.model");
    assert!(matches!(LlamaTokenizer::from_file(&absent), Err(TokenizerError::Read { .. })));
}

#[test]
fn tokenizer_json_is_wanted_before_tokenizer_model() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(golden("tiny.model"), dir.path().join("tokenizer.model")).unwrap();
    assert!(LlamaTokenizer::from_dir(dir.path()).is_ok());
    std::fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
    assert!(LlamaTokenizer::from_dir(dir.path()).unwrap_err().to_string().contains("tokenizer.json"));
}

#[test]
fn llama_3s_own_form_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.model");
    std::fs::write(&path, "IQ== 0\nIg== 1\n").unwrap();
    let text = LlamaTokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(text.contains("tiktoken") && text.contains("tokenizer.json"), "{text}");
}

/// Tables have a place for each id, and the library names each id that no token has.
#[test]
fn an_id_far_beyond_the_number_of_tokens_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let json = |id: u32| {
        format!(
            r#"{{"version": "1.0", "added_tokens": [], "model": {{"type": "BPE", "vocab": {{"<s>": 0, "</s>": 1, "a": {id}}}, "merges": []}}}}"#
        )
    };
    let open = |id| {
        std::fs::write(dir.path().join("tokenizer.json"), json(id)).unwrap();
        LlamaTokenizer::from_dir(dir.path())
    };
    assert!(open(70_000 - 4_500).is_ok());
    let text = open(309_999_997).unwrap_err().to_string();
    assert!(text.contains("a token with the id 309999997; expected less than 65542"), "{text}");
}
