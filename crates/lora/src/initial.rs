//! Initialisations that take something out of the base: the adapter belongs to the rest.

use nn_core::TorchContext;
use serde_json::Value;
use tch::{Kind, Tensor, no_grad};

use crate::error::LoraError;

/// The part of a weight that `init_lora_weights` moved from the base into the factors. What such an adapter adds to the
/// original base is its product minus that part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial {
    /// Nothing: the adapter was trained over the base itself.
    Nothing,
    /// `PiSSA`: the principal singular values and vectors (Meng et al., 2024, arXiv 2404.02948).
    Pissa,
    /// `OLoRA`: the first columns and rows of a QR decomposition (Büyükakyüz, 2024, arXiv 2406.01775).
    Olora,
}

impl Initial {
    /// Reads `init_lora_weights` as PEFT does when it loads an adapter (`peft/tuners/lora/layer.py`, `update_layer`).
    ///
    /// # Errors
    /// [`LoraError::Initial`] for an initialisation whose part cannot be found from the base alone, or is unknown.
    pub fn of(init_lora_weights: &Value) -> Result<Self, LoraError> {
        let name = match init_lora_weights {
            Value::Bool(_) | Value::Null => return Ok(Self::Nothing),
            Value::String(name) => name.as_str(),
            other => return Err(LoraError::Initial { value: other.to_string(), reason: UNKNOWN }),
        };
        let reason = match name.to_lowercase().as_str() {
            // Factors alone: the base is as it was.
            "true" | "false" | "gaussian" | "orthogonal" | "eva" | "mica" => return Ok(Self::Nothing),
            "pissa" => return Ok(Self::Pissa),
            "olora" => return Ok(Self::Olora),
            text if text.starts_with("pissa_niter_") => {
                "the base that it was trained over was made by a random approximation"
            }
            "corda" | "lora_ga" => "the base that it was trained over was made with data",
            "loftq" => "it was trained over a base that LoftQ had quantised",
            _ => UNKNOWN,
        };
        Err(LoraError::Initial { value: name.to_owned(), reason })
    }

    /// Computes the factors `(A, B)`, `[r, in]` and `[out, r]`, float32, that the training started from, of the original
    /// weight, `[out, in]`; `None` where nothing was taken out. `scale` is that of the adapter.
    ///
    /// # Errors
    /// [`LoraError::Nn`] when libtorch fails.
    pub(crate) fn factors(
        self,
        weight: &Tensor,
        r: i64,
        scale: f64,
    ) -> Result<Option<(Tensor, Tensor)>, LoraError> {
        let weight = weight.f_to_kind(Kind::Float).op("to_kind")?;
        no_grad(|| match self {
            Self::Nothing => Ok(None),
            Self::Pissa => {
                let (u, s, v) = weight.f_svd(true, true).op("svd")?;
                let root = s.f_narrow(0, 0, r).op("narrow")?.f_div_scalar(scale).op("div")?;
                let root = root.f_sqrt().op("sqrt")?; // [r]
                let rows = root.f_unsqueeze(1).op("unsqueeze")?; // [r, 1]
                let a = v.f_tr().op("tr")?.f_narrow(0, 0, r).op("narrow")?.f_mul(&rows).op("mul")?;
                let b = u.f_narrow(1, 0, r).op("narrow")?.f_mul(&root).op("mul")?;
                Ok(Some((a, b)))
            }
            Self::Olora => {
                let (q, upper) = Tensor::f_linalg_qr(&weight, "reduced").op("linalg_qr")?;
                let a = upper.f_narrow(0, 0, r).op("narrow")?;
                let b = q.f_narrow(1, 0, r).op("narrow")?;
                Ok(Some((a, b)))
            }
        })
    }
}

const UNKNOWN: &str = "this initialisation is unknown here";
