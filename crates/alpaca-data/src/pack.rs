//! Plain text, packed into sequences of equal length.

use llama_tokenizer::LlamaTokenizer;
use rayon::prelude::*;

use crate::{DataError, Example};

/// Joins documents, each between BOS and EOS, and cuts the whole into sequences of `seq_len` tokens whose every token
/// is learnt. The rest at the end is dropped.
///
/// # Errors
/// [`DataError`] when `seq_len` is under 2, a document cannot be tokenised, or all of them are shorter than one
/// sequence.
pub fn pack_documents(
    documents: &[String],
    tokenizer: &LlamaTokenizer,
    seq_len: usize,
) -> Result<Vec<Example>, DataError> {
    if seq_len < 2 {
        return Err(DataError::TooShort { name: "seq_len", actual: seq_len, least: 2 });
    }
    let eos = tokenizer.eos_id();
    let tokens = documents
        .par_iter()
        .enumerate()
        .map(|(index, document)| {
            let mut ids =
                tokenizer.encode(document, true).map_err(|source| DataError::Tokenize { index, source })?;
            ids.push(eos);
            Ok(ids)
        })
        .collect::<Result<Vec<_>, DataError>>()?
        .concat();
    if tokens.len() < seq_len {
        return Err(DataError::TooShort {
            name: "the corpus in tokens",
            actual: tokens.len(),
            least: seq_len,
        });
    }
    let sequences = tokens.chunks_exact(seq_len);
    Ok(sequences.map(|ids| Example { input_ids: ids.to_vec(), labels: ids.to_vec() }).collect())
}
