//! Made-up results of lora-vs-qlora.

use serde_json::{Value, json};

use super::parts::{environment, texts, variants};
use super::random::Random;

/// Faults of made-up results.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QloraFaults {
    /// NF4 comes out as a wrong scale of the codes would make it.
    pub(crate) wrong_scale: bool,
    /// Some cells fail.
    pub(crate) failures: bool,
    /// One seed only.
    pub(crate) one_seed: bool,
}

const VARIANTS: &str = "\
lora | LoRA | LoRA | Base in float32. | 基座为 float32。
nf4 | QLoRA, NF4 | QLoRA（NF4） | Base in NF4, blocks of 64. | 基座为 NF4，64 个一块。
nf4-dq | QLoRA, NF4 + double quant | QLoRA（NF4 + 双重量化） | Scales in 8 bits, too. | 缩放系数也量化到 8 比特。
int8 | 8 bits | int8 量化 | LLM.int8(). | LLM.int8()。";

/// `experiment.json` and the cells.
pub(crate) fn lora_vs_qlora(faults: QloraFaults) -> (Value, Vec<Value>) {
    let variants = variants(VARIANTS);
    let sizes = [64u64, 256, 1000, 4000];
    let seeds: &[u64] = if faults.one_seed { &[1] } else { &[1, 2, 3] };
    let experiment = json!({
        "experiment": "lora-vs-qlora", "title": "SYNTHETIC numbers: LoRA against QLoRA", "profile": "synthetic",
        "run_file": "# made up\nexperiment = \"lora-vs-qlora\"\nsizes = [64, 256, 1000, 4000]\n\n[profiles.synthetic]\nbase_model = \"made-up-model\"\ndata_path = \"made-up.json\"\ndtype = \"float32\"\nvalidation_records = 8\nevaluation_records = 8\n\n[profiles.synthetic.finetune]\nbatch_size = 16\nnum_epochs = 3\nlora_r = 8\nlora_alpha = 16\nlora_dropout = 0.05\nlora_target_modules = [\"q_proj\", \"v_proj\"]\nlearning_rate = 3e-4\nlr_scheduler = \"cosine\"\ncutoff_len = 256\n",
        "variants": variants, "reference": "lora", "sizes": sizes, "seeds": seeds, "repeats": 1,
        "commands": ["cargo xtask experiment lora-vs-qlora --sizes 64,256,1000,4000 --out results"],
        "environment": environment(),
    });
    let mut random = Random(11);
    let mut cells = Vec::new();
    for size in sizes {
        for &seed in seeds {
            for name in ["lora", "nf4", "nf4-dq", "int8"] {
                let failed = faults.failures && name == "int8" && seed == 2;
                cells.push(cell(name, size, seed, failed, faults, &mut random));
            }
        }
    }
    (experiment, cells)
}

fn cell(name: &str, size: u64, seed: u64, failed: bool, faults: QloraFaults, random: &mut Random) -> Value {
    let id = format!("{name}/{size}/{seed}");
    if failed {
        return json!({"cell": id, "key": "k", "variant": name, "size": size, "seed": seed, "repeat": 0, "ok": false,
            "error": "killed: out of memory", "wall_s": 1.0, "metrics": {}, "series": {}, "texts": [], "samples": {}});
    }
    let (slow, base_bytes, worse) = match name {
        "lora" => (1.0, 6.1e7, 0.0),
        "nf4" => (1.28, 1.3e7, 0.012),
        "nf4-dq" => (1.31, 1.25e7, 0.012),
        _ => (1.15, 1.9e7, 0.003),
    };
    let records = size as f64;
    let seed_effect = 0.02 * Random(seed).normal();
    let mut loss = 4.2 * records.powf(-0.21) + 0.1 * worse * random.normal() + seed_effect + 0.3 * worse;
    if faults.wrong_scale && name == "nf4" {
        loss += 2.0;
    }
    let train_s = (1.2 + records * 0.016) * slow * (1.0 + 0.02 * random.normal());
    let steps = (size / 16).max(4) * 3;
    let curve = |every: u64, random: &mut Random, noise: f64| -> Vec<(f64, f64)> {
        (1..=steps / every)
            .map(|step| {
                let part = (step * every) as f64 / steps as f64;
                ((step * every) as f64, loss + 3.0 * (-5.0 * part).exp() + noise * random.normal())
            })
            .collect()
    };
    let right = (10.0 * (1.0 - loss / 5.0)).clamp(0.0, 8.0) as usize;
    let answer = |id: usize, reference: &str| {
        if id < right {
            reference.to_owned()
        } else {
            format!("{} once", &reference[..reference.len().min(8)])
        }
    };
    let (train_loss, val_loss) = (curve(1, random, 0.08), curve((steps / 10).max(1), random, 0.01));
    json!({"cell": id, "key": "k", "variant": name, "size": size, "seed": seed, "repeat": 0, "ok": true, "error": null,
        "wall_s": train_s + 2.0,
        "metrics": {
            "train_s": train_s, "tokens_per_s": records * 3.0 * 60.0 / train_s,
            "peak_host_mib": 350.0 + base_bytes / 1_048_576.0 + records * 0.004 + random.normal(),
            "train_loss_final": loss - 0.1, "val_loss_final": loss, "val_loss_best": loss - 0.004,
            "perplexity": loss.exp(), "exact_match": right as f64 / 8.0, "rouge_l": 0.2 + 0.08 * right as f64,
            "adapter_bytes": 1.6e6, "base_bytes": base_bytes, "phase_load_s": 0.05,
            "phase_quantise_s": if name == "lora" { 0.0 } else { 0.21 }, "phase_forward_s": train_s * 0.3,
            "phase_backward_s": train_s * 0.6, "phase_optimizer_s": train_s * 0.03,
        },
        "series": {"train_loss": train_loss, "val_loss": val_loss}, "texts": texts(answer), "samples": {}})
}
