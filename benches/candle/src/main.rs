//! Times candle's LLaMA, greedy, token by token. The peer of `bench-decode`: same weights, prompt, precision.
//!
//!     candle-decode DIR NEW_TOKENS DTYPE REPEATS

use std::error::Error;
use std::time::Instant;

use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Llama, LlamaConfig};

const PROMPT_TOKENS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, dir, new_tokens, dtype, repeats] = &args[..] else {
        return Err("usage: candle-decode DIR NEW_TOKENS float32|bfloat16 REPEATS".into());
    };
    let (new_tokens, repeats): (usize, usize) = (new_tokens.parse()?, repeats.parse()?);
    let dtype = match &dtype[..] {
        "float32" => DType::F32,
        "bfloat16" => DType::BF16,
        other => return Err(format!("dtype is `{other}`; expected float32 or bfloat16").into()),
    };
    let config: LlamaConfig = serde_json::from_str(&std::fs::read_to_string(format!("{dir}/config.json"))?)?;
    let config = config.into_config(false);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            files.push(path);
        }
    }
    let device = Device::Cpu;
    // SAFETY: nobody writes to the files meanwhile.
    let weights = unsafe { VarBuilder::from_mmaped_safetensors(&files, dtype, &device)? };
    let model = Llama::load(weights, &config)?;
    let prompt: Vec<u32> =
        (0..PROMPT_TOKENS).map(|i| (3 + i * 7919 % (config.vocab_size - 3)) as u32).collect();
    let (mut first_token_s, mut token_s, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..repeats {
        ids.clear();
        let mut cache = Cache::new(true, dtype, &config, &device)?;
        let mut input = prompt.clone();
        let mut position = 0;
        let mut last = Instant::now();
        for index in 0..new_tokens {
            let tokens = Tensor::new(&input[..], &device)?.unsqueeze(0)?;
            let logits = model.forward(&tokens, position, &mut cache)?;
            position += input.len();
            let token = logits.i(0)?.argmax(0)?.to_scalar::<u32>()?;
            let now = Instant::now();
            let times = if index == 0 { &mut first_token_s } else { &mut token_s };
            times.push((now - last).as_secs_f64());
            last = now;
            ids.push(token);
            input = vec![token];
        }
    }
    let result = serde_json::json!({
        "first_token_s": first_token_s, "token_s": token_s, "ids": ids, "peak_host_mib": 0,
    });
    println!("{result}");
    Ok(())
}
