//! Fine-tunes the embedded model on one sentence, merges the adapter and generates. Run it in the root of the repository.

// ANCHOR: readme
use llama_finetune::{
    AdapterDir, Base, Device, Dtype, Example, FinetuneError, GenerateConfig, HuggingFace, LoraConfig,
    LoraModel, TrainConfig, Trainer, generate_text,
};

fn fine_tune() -> Result<String, FinetuneError> {
    let base = Base::open("datasets/tiny-llama")?; // a directory, a GGUF file, or a name on the hub
    let tokenizer = base.tokenizer()?;
    let lora = LoraConfig { r: 16, ..LoraConfig::default() };
    let model = LoraModel::attach(base.load(Device::Cpu, Dtype::Auto)?, &lora)?;
    let data = vec![Example::text(&tokenizer, "Hugo is at home in the cave.")?];
    let train =
        TrainConfig { max_steps: Some(30), warmup_steps: 2, learning_rate: 3e-3, ..Default::default() };
    Trainer::new(&model, &data, train).run("target/hugo")?; // PEFT's files, metrics, checkpoints
    base.merge(&[AdapterDir::new("target/hugo")], &HuggingFace, "target/hugo-merged")?;
    generate_text(&model, &tokenizer, "Hugo is at", &GenerateConfig::default())
}
// ANCHOR_END: readme

#[expect(clippy::print_stdout, reason = "an example that says what it found")]
fn main() -> Result<(), FinetuneError> {
    // A run and a merge refuse directories with results of an earlier one.
    for dir in ["target/hugo", "target/hugo-merged"] {
        std::fs::remove_dir_all(dir).ok();
    }
    let answer = fine_tune()?;
    println!("Hugo is at{answer}");
    assert_eq!(answer, " home in the cave.");
    Ok(())
}
