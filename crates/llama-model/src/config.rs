//! The shape of a model.

use serde::Serialize;

use crate::families::FAMILIES;
use crate::{DecoderSpec, Family, ModelError, RopeScaling, TokenIds};

/// Shape and constants of a model, fully decided.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LlamaConfig {
    /// Family that the model belongs to.
    #[serde(skip)]
    pub family: &'static Family,
    /// Entries of the embedding and of the head, `V`.
    pub vocab_size: i64,
    /// Model width `C`.
    pub hidden_size: i64,
    /// Feed-forward width `F`.
    pub intermediate_size: i64,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads `H`.
    pub num_attention_heads: i64,
    /// Key and value heads `K`; fewer than `H` is grouped-query attention.
    pub num_key_value_heads: i64,
    /// Width of one head, `D`.
    pub head_dim: i64,
    /// Context the model was trained for, in tokens.
    pub max_position_embeddings: i64,
    /// Added to the mean square in every norm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Long-context stretching, if any.
    pub rope_scaling: Option<RopeScaling>,
    /// Optional parts of each decoder layer.
    #[serde(skip)]
    pub decoder: DecoderSpec,
    /// True when the head is the embedding.
    pub tie_word_embeddings: bool,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// First token of a text.
    pub bos_token_id: Option<i64>,
    /// Tokens that end a text.
    pub eos_token_id: Option<TokenIds>,
    /// Padding token, often absent.
    pub pad_token_id: Option<i64>,
    /// Precision of the file the configuration belongs to.
    pub torch_dtype: Option<String>,
}

impl LlamaConfig {
    /// Creates a configuration with LLaMA-1's constants and the given widths; the other fields are public.
    pub fn new(vocab_size: i64, hidden_size: i64, intermediate_size: i64, layers: usize, heads: i64) -> Self {
        Self {
            family: FAMILIES[0],
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: heads,
            head_dim: hidden_size / heads.max(1),
            max_position_embeddings: 2048,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            rope_scaling: None,
            decoder: DecoderSpec::default(),
            tie_word_embeddings: false,
            initializer_range: 0.02,
            bos_token_id: Some(1),
            eos_token_id: Some(TokenIds::One(2)),
            pad_token_id: None,
            torch_dtype: None,
        }
    }

    /// Checks that the heads share `hidden_size` evenly, for a file that does not state their width.
    ///
    /// # Errors
    /// [`ModelError::Config`] where they do not.
    pub fn check_heads_divide(&self) -> Result<(), ModelError> {
        let (heads, hidden) = (self.num_attention_heads, self.hidden_size);
        if heads < 1 || hidden % heads == 0 {
            return Ok(());
        }
        let expected = format!("it has to divide hidden_size {hidden} where head_dim is not stated");
        Err(ModelError::config("num_attention_heads", heads.to_string(), expected))
    }

    /// Returns the longest text that the model can be used for, in tokens: `max_position_embeddings`, or what dynamic NTK or `YaRN`
    /// stretch the trained context to, where that is more.
    pub fn context_len(&self) -> i64 {
        let trained = self.max_position_embeddings;
        let stretched = match self.rope_scaling {
            Some(RopeScaling::Dynamic { factor }) => trained as f64 * factor,
            Some(RopeScaling::Yarn { factor, original_max_position_embeddings, .. }) => {
                original_max_position_embeddings as f64 * factor
            }
            _ => 0.0,
        };
        trained.max(stretched as i64)
    }

    /// Returns the tokens that end a text, as the configuration states them.
    pub fn eos_ids(&self) -> &[i64] {
        self.eos_token_id.as_ref().map_or(&[], TokenIds::as_slice)
    }
}
