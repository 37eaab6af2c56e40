//! The shape of a model, read from the metadata of a GGUF file.

use std::path::Path;

use llama_model::{DecoderSpec, FAMILIES, Family, LlamaConfig, RopeScaling, TokenIds};
use nn_core::Dtype;
use weights::{GgufFile, GgufMetadata, GgufValue};

use crate::CheckpointError;

/// Divisors of the rotary frequencies, which is how Llama 3's stretching is stored.
pub(super) const ROPE_FREQS: &str = "rope_freqs.weight";
/// Relative difference of equal numbers in single precision.
const TOLERANCE: f64 = 1e-4;

/// Settings of other architectures that change what is computed, and the value beside 0 that changes nothing.
const NEUTRAL: [(&str, f64); 7] = [
    ("attention.scale", 0.0),
    ("attention.clamp_kqv", 0.0),
    ("attn_logit_softcapping", 0.0),
    ("final_logit_softcapping", 0.0),
    ("logit_scale", 1.0),
    ("residual_scale", 1.0),
    ("embedding_scale", 1.0),
];

/// Metadata of one file.
struct Fields<'a> {
    path: &'a Path,
    metadata: &'a GgufMetadata,
}

impl<'a> Fields<'a> {
    fn refuse(&self, field: &str, actual: impl Into<String>, expected: impl Into<String>) -> CheckpointError {
        CheckpointError::Metadata {
            path: self.path.to_owned(),
            field: field.to_owned(),
            actual: actual.into(),
            expected: expected.into(),
        }
    }

    /// Refuses the value that the file states.
    fn refuse_stated(&self, field: &str, expected: impl Into<String>) -> CheckpointError {
        self.refuse(field, self.metadata.get(field).map_or_else(|| "missing".to_owned(), short), expected)
    }

    fn get<T>(
        &self,
        field: &str,
        read: impl Fn(&'a GgufValue) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, CheckpointError> {
        let Some(value) = self.metadata.get(field) else { return Ok(None) };
        let unfit = || self.refuse(field, short(value), expected);
        read(value).ok_or_else(unfit).map(Some)
    }

    fn integer(&self, field: &str) -> Result<Option<i64>, CheckpointError> {
        self.get(field, GgufValue::as_i64, "it has to be a whole number")
    }

    fn number(&self, field: &str) -> Result<Option<f64>, CheckpointError> {
        self.get(field, GgufValue::as_f64, "it has to be a number")
    }

    fn text(&self, field: &str) -> Result<Option<&'a str>, CheckpointError> {
        self.get(field, GgufValue::as_text, "it has to be a text")
    }

    fn needed(&self, field: &str) -> Result<i64, CheckpointError> {
        self.integer(field)?.ok_or_else(|| self.refuse(field, "missing", "a LLaMA model needs it"))
    }

    /// Reads a number of heads, which some files state for each layer.
    fn heads(&self, field: &str) -> Result<Option<i64>, CheckpointError> {
        let read = |value: &GgufValue| match value.as_integers() {
            None => value.as_i64(),
            Some(layers) => layers.first().copied().filter(|first| layers.iter().all(|layer| layer == first)),
        };
        self.get(field, read, "it has to be one whole number for all layers")
    }
}

/// Cuts a value short for a message.
fn short(value: &GgufValue) -> String {
    format!("{value:?}").chars().take(60).collect()
}

/// Reads the shape that `file` states.
pub(super) fn read(file: &GgufFile) -> Result<LlamaConfig, CheckpointError> {
    let fields = Fields { path: file.path(), metadata: file.metadata() };
    let family = family(&fields)?;
    let own = |key: &str| format!("{}.{key}", family.gguf_architecture);
    if let Some(experts) = fields.integer(&own("expert_count"))?.filter(|&experts| experts > 0) {
        let expected = "mixtures of experts are not supported";
        return Err(fields.refuse(&own("expert_count"), experts.to_string(), expected));
    }
    for (key, neutral) in NEUTRAL {
        let key = own(key);
        #[expect(clippy::float_cmp, reason = "a setting, not a result")]
        if fields.number(&key)?.is_some_and(|value| value != 0.0 && value != neutral) {
            return Err(fields.refuse_stated(&key, "scores and states are used as they are"));
        }
    }
    let embedding = file.info("token_embd.weight")?.shape;
    let layers = fields.needed(&own("block_count"))?;
    let layers = usize::try_from(layers).ok().filter(|&layers| layers <= 1 << 16).ok_or_else(|| {
        fields.refuse(&own("block_count"), layers.to_string(), "it has to be a number of layers")
    })?;
    let heads = own("attention.head_count");
    let heads =
        fields.heads(&heads)?.ok_or_else(|| fields.refuse(&heads, "missing", "a LLaMA model needs it"))?;
    let mut config = LlamaConfig::new(
        embedding.first().copied().unwrap_or(0),
        fields.needed(&own("embedding_length"))?,
        fields.needed(&own("feed_forward_length"))?,
        layers,
        heads,
    );
    config.family = family;
    config.num_key_value_heads = fields.heads(&own("attention.head_count_kv"))?.unwrap_or(heads);
    match fields.integer(&own("attention.key_length"))? {
        Some(width) => config.head_dim = width,
        None => config.check_heads_divide().map_err(CheckpointError::in_file(file.path()))?,
    }
    for field in [own("rope.dimension_count"), own("attention.value_length")] {
        if let Some(width) = fields.integer(&field)?.filter(|&width| width != config.head_dim) {
            let expected = format!("the heads are {} wide", config.head_dim);
            return Err(fields.refuse(&field, width.to_string(), expected));
        }
    }
    config.max_position_embeddings = fields.needed(&own("context_length"))?;
    config.rms_norm_eps = fields.number(&own("attention.layer_norm_rms_epsilon"))?.unwrap_or(1e-6);
    config.rope_theta = fields.number(&own("rope.freq_base"))?.unwrap_or(10_000.0);
    config.tie_word_embeddings = !file.contains("output.weight");
    config.decoder = DecoderSpec {
        qkv_bias: file.contains("blk.0.attn_q.bias"),
        o_bias: file.contains("blk.0.attn_output.bias"),
        mlp_bias: file.contains("blk.0.ffn_gate.bias"),
        qk_norm: file.contains("blk.0.attn_q_norm.weight"),
    };
    config.bos_token_id = fields.integer("tokenizer.ggml.bos_token_id")?;
    config.pad_token_id = fields.integer("tokenizer.ggml.padding_token_id")?;
    let mut eos = Vec::new();
    for field in ["eos", "eot", "eom"] {
        let id = fields.integer(&format!("tokenizer.ggml.{field}_token_id"))?;
        eos.extend(id.filter(|id| !eos.contains(id)));
    }
    config.eos_token_id = match eos.as_slice() {
        [] => None,
        [id] => Some(TokenIds::One(*id)),
        _ => Some(TokenIds::Many(eos)),
    };
    let kind = file.info("blk.0.attn_q.weight").ok().and_then(|info| info.ggml_type.kind());
    config.torch_dtype = Some(kind.and_then(Dtype::from_kind).unwrap_or(Dtype::Float32).to_string());
    // Before what is computed from it, and after.
    config.validate().map_err(CheckpointError::in_file(file.path()))?;
    config.rope_scaling = scaling(file, &fields, &config)?;
    config.validate().map_err(CheckpointError::in_file(file.path()))?;
    Ok(config)
}

/// Finds the family of the architecture that the file states.
fn family(fields: &Fields<'_>) -> Result<&'static Family, CheckpointError> {
    let field = "general.architecture";
    let stated = fields.text(field)?;
    let found = FAMILIES.iter().copied().find(|family| Some(family.gguf_architecture) == stated);
    found.ok_or_else(|| {
        let known: Vec<&str> = FAMILIES.iter().map(|family| family.gguf_architecture).collect();
        let is = if known.len() == 1 { "is" } else { "are" };
        fields.refuse(field, stated.unwrap_or("missing"), format!("only {} {is} supported", known.join(", ")))
    })
}

/// Reads how the rotary frequencies are stretched.
fn scaling(
    file: &GgufFile,
    fields: &Fields<'_>,
    config: &LlamaConfig,
) -> Result<Option<RopeScaling>, CheckpointError> {
    if file.contains(ROPE_FREQS) {
        return llama3(file, fields, config).map(Some);
    }
    let own = |key: &str| format!("{}.rope.{key}", config.family.gguf_architecture);
    let number = |key: &str| fields.number(&own(key));
    let field = own("scaling.type");
    let factor = number("scaling.factor")?.or(number("scale_linear")?);
    match (fields.text(&field)?, factor) {
        (Some("yarn"), _) => {
            let original = fields.integer(&own("scaling.original_context_length"))?;
            yarn(fields, &own, original.unwrap_or(config.max_position_embeddings), factor.unwrap_or(1.0))
                .map(Some)
        }
        (Some("linear") | None, Some(factor)) if (factor - 1.0).abs() > TOLERANCE => {
            Ok(Some(RopeScaling::Linear { factor }))
        }
        (Some("none" | "linear") | None, _) => Ok(None),
        (Some(other), _) => {
            Err(fields.refuse(&field, other, "none, linear, yarn and Llama 3's rope_freqs are supported"))
        }
    }
}

/// Reads `YaRN`'s settings. llama.cpp scales cosines and sines by what follows from the factor, times `attn_factor`; its converter
/// states transformers' `attention_factor` as `yarn_attn_factor`.
fn yarn(
    fields: &Fields<'_>,
    own: &dyn Fn(&str) -> String,
    original: i64,
    factor: f64,
) -> Result<RopeScaling, CheckpointError> {
    let log_multiplier = own("scaling.yarn_log_multiplier");
    if fields.number(&log_multiplier)?.is_some_and(|value| value != 0.0) {
        return Err(fields.refuse_stated(&log_multiplier, "only attn_factor is supported"));
    }
    let number = |key: &str| fields.number(&own(key));
    let mut scaling = RopeScaling::yarn(factor, original);
    if let RopeScaling::Yarn { attention_factor, beta_fast, beta_slow, .. } = &mut scaling {
        *attention_factor *= number("scaling.attn_factor")?.unwrap_or(1.0);
        *attention_factor = number("scaling.yarn_attn_factor")?.unwrap_or(*attention_factor);
        *beta_fast = number("scaling.yarn_beta_fast")?.unwrap_or(*beta_fast);
        *beta_slow = number("scaling.yarn_beta_slow")?.unwrap_or(*beta_slow);
    }
    Ok(scaling)
}

/// Finds Llama 3's parameters from the divisors they give.
fn llama3(
    file: &GgufFile,
    fields: &Fields<'_>,
    config: &LlamaConfig,
) -> Result<RopeScaling, CheckpointError> {
    let tensor = file.tensor(ROPE_FREQS, Some(tch::Kind::Double))?;
    let unfit = |actual: String| fields.refuse(ROPE_FREQS, actual, "only Llama 3's factors are supported");
    let divisors = Vec::<f64>::try_from(&tensor).map_err(|_| unfit(format!("{:?}", tensor.size())))?;
    if divisors.len() as i64 != config.head_dim / 2 {
        return Err(unfit(format!("of {} factors", divisors.len())));
    }
    let factor = divisors.iter().copied().fold(1.0, f64::max);
    let field = format!("{}.rope.scaling.original_context_length", config.family.gguf_architecture);
    let stated = fields.integer(&field)?;
    // The release's, which every model so far has kept.
    [stated.unwrap_or(8192), 8192]
        .map(|original_max_position_embeddings| RopeScaling::Llama3 {
            factor,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings,
        })
        .into_iter()
        .find(|scaling| {
            let plain = config.inverse_frequencies();
            let scaled = LlamaConfig { rope_scaling: Some(scaling.clone()), ..config.clone() };
            let given = plain.iter().zip(&divisors).map(|(frequency, divisor)| frequency / divisor);
            scaled
                .inverse_frequencies()
                .iter()
                .zip(given)
                .all(|(scaled, given)| (scaled - given).abs() <= TOLERANCE * scaled)
        })
        .ok_or_else(|| unfit(format!("of largest factor {factor}")))
}
