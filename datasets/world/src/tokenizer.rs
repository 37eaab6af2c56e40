//! Byte-level BPE tokenizer of the embedded model.

use serde_json::json;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, PreTokenizerWrapper, Result, Tokenizer};

use crate::people::everyone;
use crate::task::capitalised;
use crate::words::{coloured, nouns, opposites};

/// Entries of the vocabulary.
pub const VOCAB_SIZE: usize = 3584;
/// Unknown text (there is none) and padding; id 0.
pub const UNK: &str = "<unk>";
/// Begin of a text; id 1.
pub const BOS: &str = "<s>";
/// End of a text; id 2.
pub const EOS: &str = "</s>";

/// Alpaca prompt before an instruction is filled in, shown so that its words become whole tokens.
const PROMPT: &str = "Below is an instruction that describes a task, paired with an input that provides further context. \
     Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n\
     ### Instruction:\n\n\n### Input:\n\n\n### Response:\n";

/// Times that each word of the world is shown beside the documents: often enough to become one token however rare it is
/// there. A model this small copies a word from a question to its answer when that is one step, and seldom when it is four.
const EMPHASIS: usize = 1000;

/// Lists every name and word in the three forms that are different tokens: within a line, at its start, at the start of a
/// sentence.
fn lexicon() -> Vec<String> {
    let people = everyone();
    let names = people.iter().map(|person| person.name);
    let words = nouns().into_iter().map(|(noun, _)| noun);
    let things = coloured().into_iter().map(|(thing, _)| thing);
    let opposites = opposites().into_iter().flat_map(|(one, other)| [one, other]);
    let all = names.chain(words).chain(things).chain(opposites);
    all.flat_map(|word| [format!(" {word}"), word.to_owned(), capitalised(word)]).collect()
}

/// Trains the tokenizer on every tenth document, the prompt, and every word of the world.
///
/// # Errors
/// Whatever `tokenizers` reports.
pub fn train(documents: &[String]) -> Result<Tokenizer> {
    let special = [UNK, BOS, EOS].map(|token| AddedToken::from(token, true));
    let mut trainer: TrainerWrapper = BpeTrainer::builder()
        .vocab_size(VOCAB_SIZE)
        .special_tokens(special.to_vec())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .show_progress(false)
        .build()
        .into();
    let mut tokenizer = Tokenizer::new(BPE::default());
    let digits = PreTokenizerWrapper::from(Digits::new(true));
    let bytes = PreTokenizerWrapper::from(ByteLevel::new(false, true, true));
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![digits, bytes])));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let prompts = std::iter::repeat_n(PROMPT, documents.len() / 1000);
    let lexicon = lexicon();
    let words = std::iter::repeat_n(&lexicon, EMPHASIS).flatten().map(String::as_str);
    let texts = documents.iter().step_by(10).map(String::as_str).chain(prompts).chain(words);
    tokenizer.train(&mut trainer, texts)?;
    let mut begin = TemplateProcessing::builder();
    begin.try_single("<s> $A")?.try_pair("<s> $A $B")?.special_tokens(vec![(BOS, 1)]);
    tokenizer.with_post_processor(Some(begin.build().map_err(|error| error.to_string())?));
    Ok(tokenizer)
}

/// Writes `tokenizer_config.json` as transformers reads it.
pub fn config() -> serde_json::Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "unk_token": UNK,
        "pad_token": UNK,
        "model_max_length": 512,
        "clean_up_tokenization_spaces": false,
    })
}

/// Writes `special_tokens_map.json` as transformers reads it.
pub fn special_tokens_map() -> serde_json::Value {
    json!({ "bos_token": BOS, "eos_token": EOS, "unk_token": UNK, "pad_token": UNK })
}
