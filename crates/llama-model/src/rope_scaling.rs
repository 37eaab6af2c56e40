//! Stretching of rotary frequencies for long contexts, as transformers has it (`modeling_rope_utils.py`).

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::fields::Fields;

/// Stretching of rotary frequencies for long contexts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "lowercase")]
pub enum RopeScaling {
    /// Positions divided by `factor` (kaiokendev; Chen et al., arXiv 2306.15595).
    Linear {
        /// Multiple of the trained context.
        factor: f64,
    },
    /// Dynamic NTK: the base of the frequencies grows with a text that is longer than `max_position_embeddings`; shorter ones
    /// are not stretched (bloc97 and emozilla; transformers `_compute_dynamic_ntk_parameters`).
    Dynamic {
        /// Multiple of the trained context.
        factor: f64,
    },
    /// `YaRN`: low frequencies divided by `factor`, high ones kept, a ramp between; cosines and sines scaled (Peng et al.,
    /// arXiv 2309.00071, §3; transformers `_compute_yarn_parameters`).
    Yarn {
        /// Multiple of the trained context.
        factor: f64,
        /// Context of pre-training, in tokens.
        original_max_position_embeddings: i64,
        /// Factor of all cosines and sines.
        attention_factor: f64,
        /// Rotations over the trained context above which a frequency is kept.
        beta_fast: f64,
        /// Rotations over the trained context below which a frequency is divided by `factor`.
        beta_slow: f64,
        /// True when the ends of the ramp are rounded outwards to whole frequencies.
        truncate: bool,
    },
    /// Llama 3.1's: low frequencies divided by `factor`, high ones kept, those between interpolated
    /// (`meta-llama/llama-models`, `models/llama3/model.py`).
    Llama3 {
        /// Multiple of the trained context.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are stretched.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Context of pre-training, in tokens.
        original_max_position_embeddings: i64,
    },
}

impl RopeScaling {
    /// `YaRN`'s `beta_fast` and `beta_slow` where a file states none.
    pub const YARN_BETAS: (f64, f64) = (32.0, 1.0);

    /// Makes `YaRN` with its paper's constants (§3.4).
    pub fn yarn(factor: f64, original_max_position_embeddings: i64) -> Self {
        Self::Yarn {
            factor,
            original_max_position_embeddings,
            attention_factor: Self::yarn_attention_factor(factor, 1.0),
            beta_fast: Self::YARN_BETAS.0,
            beta_slow: Self::YARN_BETAS.1,
            truncate: true,
        }
    }

    /// Returns the factor of `YaRN`'s cosines and sines that follows from the other one: `0.1 · mscale · ln(factor) + 1`.
    pub fn yarn_attention_factor(factor: f64, mscale: f64) -> f64 {
        if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
    }

    /// Reads the object `rope_scaling` or `rope_parameters`. `outer`: the whole file; `context`: `max_position_embeddings`.
    pub(crate) fn read(
        fields: Fields<'_>,
        outer: Fields<'_>,
        context: i64,
    ) -> Result<Option<Self>, ModelError> {
        let (rope_type, older) = (fields.text("rope_type")?, fields.text("type")?);
        if let (Some(one), Some(other)) = (rope_type, older)
            && one != other
        {
            return Err(fields.refuse("rope_type", format!("`{}` is {other}", fields.name("type"))));
        }
        let factor = fields.number("factor")?;
        let need = |key: &str| {
            fields.number(key)?.ok_or_else(|| fields.refuse(key, "this kind of stretching needs it"))
        };
        let original = || -> Result<i64, ModelError> {
            let key = "original_max_position_embeddings";
            match (fields.integer(key)?, outer.integer(key)?) {
                (Some(inner), Some(outer)) if inner != outer => {
                    Err(fields.refuse(key, format!("`{key}` beside it is {outer}")))
                }
                (inner, outer) => Ok(inner.or(outer).unwrap_or(context)),
            }
        };
        Ok(Some(match rope_type.or(older).unwrap_or("default") {
            "default" => return Ok(None),
            "linear" => Self::Linear { factor: need("factor")? },
            "dynamic" => Self::Dynamic { factor: need("factor")? },
            "llama3" => Self::Llama3 {
                factor: need("factor")?,
                low_freq_factor: need("low_freq_factor")?,
                high_freq_factor: need("high_freq_factor")?,
                original_max_position_embeddings: original()?,
            },
            "yarn" => {
                let original = original()?;
                let factor = factor.unwrap_or(context as f64 / original as f64);
                let not_0 =
                    |key: &str| Ok::<_, ModelError>(fields.number(key)?.filter(|&value| value != 0.0));
                let inferred = match (not_0("mscale")?, not_0("mscale_all_dim")?) {
                    (Some(mscale), Some(all)) => {
                        Self::yarn_attention_factor(factor, mscale) / Self::yarn_attention_factor(factor, all)
                    }
                    _ => Self::yarn_attention_factor(factor, 1.0),
                };
                Self::Yarn {
                    factor,
                    original_max_position_embeddings: original,
                    attention_factor: fields.number("attention_factor")?.unwrap_or(inferred),
                    beta_fast: not_0("beta_fast")?.unwrap_or(Self::YARN_BETAS.0),
                    beta_slow: not_0("beta_slow")?.unwrap_or(Self::YARN_BETAS.1),
                    truncate: fields.get("truncate").is_none() || fields.flag("truncate")?,
                }
            }
            _ => {
                let key = if rope_type.is_some() { "rope_type" } else { "type" };
                return Err(fields.refuse(key, "default, linear, dynamic, yarn and llama3 are supported"));
            }
        }))
    }

    /// Returns the factor of all cosines and sines.
    pub fn attention_scaling(&self) -> f64 {
        match self {
            Self::Yarn { attention_factor, .. } => *attention_factor,
            _ => 1.0,
        }
    }

    /// Stretches the frequencies `theta^(-2i/width)`, in radians per token, of texts within the trained context.
    pub(crate) fn stretch(&self, plain: &mut [f64], theta: f64, width: f64) {
        match *self {
            Self::Dynamic { .. } => {}
            Self::Linear { factor } => plain.iter_mut().for_each(|frequency| *frequency /= factor),
            Self::Yarn {
                factor,
                original_max_position_embeddings,
                beta_fast,
                beta_slow,
                truncate,
                attention_factor: _,
            } => {
                // The feature whose frequency makes so many rotations over the trained context.
                let feature = |rotations: f64| {
                    let original = original_max_position_embeddings as f64;
                    width * (original / (rotations * 2.0 * PI)).ln() / (2.0 * theta.ln())
                };
                let (low, high) = (feature(beta_fast), feature(beta_slow));
                let (low, high) = if truncate { (low.floor(), high.ceil()) } else { (low, high) };
                let (low, high) = (low.max(0.0), high.min(width - 1.0));
                #[expect(clippy::float_cmp, reason = "the very case that would divide by 0")]
                let high = if low == high { high + 1e-3 } else { high };
                for (index, frequency) in plain.iter_mut().enumerate() {
                    let ramp = ((index as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    *frequency = *frequency / factor * ramp + *frequency * (1.0 - ramp);
                }
            }
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                let original = original_max_position_embeddings as f64;
                for frequency in plain {
                    let wavelength = 2.0 * PI / *frequency;
                    if wavelength > original / low_freq_factor {
                        *frequency /= factor;
                    } else if wavelength >= original / high_freq_factor {
                        let smooth =
                            (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                        *frequency = (1.0 - smooth) * *frequency / factor + smooth * *frequency;
                    }
                }
            }
        }
    }
}
