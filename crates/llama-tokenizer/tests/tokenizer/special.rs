//! The special ids that early conversions of LLaMA left in `config.json`.

use llama_tokenizer::{LlamaTokenizer, check_special_ids};

use crate::golden;

fn problems(bos: Option<i64>, eos: &[i64], pad: Option<i64>) -> Vec<String> {
    let tokenizer = LlamaTokenizer::from_file(&golden("tiny.model")).unwrap();
    check_special_ids(&tokenizer, bos, eos, pad).iter().map(ToString::to_string).collect()
}

#[test]
fn ids_that_agree_with_the_vocabulary_are_accepted() {
    assert!(problems(Some(1), &[2], None).is_empty());
    assert!(problems(None, &[], Some(0)).is_empty());
    // Instruct models end at any of several tokens.
    assert!(problems(Some(1), &[7, 2], None).is_empty());
}

#[test]
fn the_ids_of_early_conversions_are_found_and_explained() {
    // decapoda-research's llama-7b-hf had 0 and 1, other conversions 0 and 0.
    for eos in [1, 0] {
        let found = problems(Some(0), &[eos], Some(-1));
        let token = ["<unk>", "<s>"][eos as usize];
        assert_eq!(
            found[..2],
            [
                "config.json says bos_token_id is 0 (`<unk>`), the tokenizer says 1 (`<s>`); early LLaMA conversions \
                 got this wrong, the tokenizer's is used"
                    .to_owned(),
                format!(
                    "config.json says eos_token_id is {eos} (`{token}`), the tokenizer says 2 (`</s>`); early LLaMA \
                     conversions got this wrong, the tokenizer's is used"
                ),
            ]
        );
        assert!(found[2].starts_with("config.json says pad_token_id is -1 (no token)"), "{}", found[2]);
    }
}

/// Their `tokenizer_config.json` names empty strings.
#[test]
fn empty_names_beside_the_tokenizer_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(golden("tiny.model"), dir.path().join("tokenizer.model")).unwrap();
    let names = r#"{"bos_token": "", "eos_token": "", "unk_token": "", "tokenizer_class": "LLaMATokenizer"}"#;
    std::fs::write(dir.path().join("tokenizer_config.json"), names).unwrap();
    let tokenizer = LlamaTokenizer::from_dir(dir.path()).unwrap();
    let ids = (tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.unk_id(), tokenizer.pad_id());
    assert_eq!(ids, (1, 2, Some(0), 0));
}

#[test]
fn names_beside_the_tokenizer_decide() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(golden("tiny.model"), dir.path().join("tokenizer.model")).unwrap();
    let names = r#"{"eos_token": {"content": "<0x00>", "lstrip": false}, "pad_token": "</s>"}"#;
    std::fs::write(dir.path().join("tokenizer_config.json"), names).unwrap();
    let tokenizer = LlamaTokenizer::from_dir(dir.path()).unwrap();
    assert_eq!((tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id()), (1, 3, 2));
}
