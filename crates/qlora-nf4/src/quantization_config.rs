//! `quantization_config` in `config.json`, as transformers' `BitsAndBytesConfig` has it.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::quantization::names;
use crate::{QuantError, Quantization};

/// Inputs of this magnitude are outliers (`LLM.int8()`, arXiv 2208.07339, §3.2; bitsandbytes' and alpaca-lora's default).
const OUTLIER_THRESHOLD: f64 = 6.0;

/// transformers' own default for files that leave the type out, and for those in 8 bits.
const DEFAULT_TYPE: &str = "fp4";

#[derive(Deserialize)]
struct Fields {
    quant_method: Option<String>,
    #[serde(default)]
    load_in_4bit: bool,
    #[serde(default)]
    load_in_8bit: bool,
    #[serde(default = "default_type")]
    bnb_4bit_quant_type: String,
    #[serde(default)]
    bnb_4bit_use_double_quant: bool,
}

fn default_type() -> String {
    DEFAULT_TYPE.to_owned()
}

/// Reads from `config`, the content of `config.json`, how the weights are quantised; `None` when they are not.
///
/// # Errors
/// [`QuantError::Config`] when it cannot be read, [`QuantError::Method`] when it is another method.
pub fn read_quantization_config(config: &Value) -> Result<Option<Quantization>, QuantError> {
    let Some(value) = config.get("quantization_config").filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let fields = Fields::deserialize(value).map_err(QuantError::Config)?;
    let other = |field, actual: &str, expected: String| {
        Err(QuantError::Method { field, actual: actual.to_owned(), expected })
    };
    if let Some(method) = fields.quant_method.filter(|method| method != "bitsandbytes") {
        return other("quant_method", &method, "`bitsandbytes`".to_owned());
    }
    let quant_type = fields.bnb_4bit_quant_type;
    let four = Quantization::find(4, Some(&quant_type), fields.bnb_4bit_use_double_quant);
    match (fields.load_in_4bit, fields.load_in_8bit) {
        (true, true) => {
            other("load_in_4bit and load_in_8bit", "true", "only one of the two to be set".to_owned())
        }
        (true, false) if four.is_none() => {
            other("bnb_4bit_quant_type", &quant_type, names(|scheme| scheme.bits() == 4, " or ", "`"))
        }
        (true, false) => Ok(four),
        (false, true) => Ok(Quantization::find(8, None, false)),
        (false, false) => Ok(None),
    }
}

/// Makes the `quantization_config` that a checkpoint quantised so has to carry. `compute_dtype` is PyTorch's name of the kind
/// that transformers shall compute in.
pub fn quantization_config(quantization: Quantization, compute_dtype: &str) -> Value {
    let four = quantization.bits() == 4;
    let quant_type = if four { quantization.name() } else { DEFAULT_TYPE };
    json!({
        "_load_in_4bit": four,
        "_load_in_8bit": !four,
        "bnb_4bit_compute_dtype": compute_dtype,
        "bnb_4bit_quant_storage": "uint8",
        "bnb_4bit_quant_type": quant_type,
        "bnb_4bit_use_double_quant": quantization.double_quant(),
        "llm_int8_enable_fp32_cpu_offload": false,
        "llm_int8_has_fp16_weight": false,
        "llm_int8_skip_modules": null,
        "llm_int8_threshold": OUTLIER_THRESHOLD,
        "load_in_4bit": four,
        "load_in_8bit": !four,
        "quant_method": "bitsandbytes",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_config_is_read_back() {
        for quantization in Quantization::all() {
            let config = json!({ "quantization_config": quantization_config(quantization, "float32") });
            assert_eq!(read_quantization_config(&config).unwrap(), Some(quantization));
        }
        assert_eq!(read_quantization_config(&json!({ "hidden_size": 1 })).unwrap(), None);
    }

    #[test]
    fn other_methods_are_rejected_by_name() {
        let read = |config: Value| {
            let config = json!({ "quantization_config": config });
            read_quantization_config(&config).unwrap_err().to_string()
        };
        assert!(read(json!({ "quant_method": "gptq", "bits": 4 })).contains("gptq"));
        let four = json!({ "load_in_4bit": true, "bnb_4bit_quant_type": "int4" });
        assert!(read(four).contains("int4"));
        assert!(read(json!({ "load_in_4bit": true, "load_in_8bit": true })).contains("only one"));
    }
}
