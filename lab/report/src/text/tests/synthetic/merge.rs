//! Made-up results of merge-compare.

use serde_json::{Value, json};

use super::parts::{environment, texts, variants};
use super::random::Random;

/// Faults of made-up results.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "any of them may be there")]
pub(crate) struct MergeFaults {
    /// Adds three merges that are wrong on purpose, and look so.
    pub(crate) planted: bool,
    /// Adds a merge that is wrong on purpose, and looks right.
    pub(crate) unseen: bool,
    /// The state dict is scaled wrongly, without anybody having meant it.
    pub(crate) wrong_state_dict: bool,
    /// Some cells fail.
    pub(crate) failures: bool,
}

const VARIANTS: &str = "\
base | base before fine-tuning | 微调前的原始权重 | The weights as they were. | 未经微调的权重。
adapter | base + adapter | 基座 + 适配器（不合并） | Computed beside the base, unmerged. | 与基座并行计算，不合并。
state-dict | merged state dict | 手动合并 state_dict | `merge --format state-dict`. | merge --format state-dict。
hf | merged, Hugging Face | merge_and_unload（HF） | merge --format hf. | merge --format hf。
legacy-script | the lab's script | 指导书脚本 | On current PEFT. | 在当前 PEFT 上运行。
nf4-merge | merged into NF4 | 合并到 NF4 基座 | Base through NF4 first. | 基座先经 NF4 量化。";

const PLANTED: &str = "\
planted-scale | planted: scale 1.5 | 植入错误：缩放 1.5 | |
planted-rows | planted: rows unpermuted | 植入错误：行未重排 | |
planted-left-out | planted: half the layers | 植入错误：遗漏一半层 | |";

/// Numbers of one variant.
struct Look {
    tokens: f64,
    logit: f64,
    kl: f64,
    changed: f64,
    perplexity: f64,
    right: usize,
    speed: f64,
}

/// `experiment.json` and the cells.
pub(crate) fn merge_compare(faults: MergeFaults) -> (Value, Vec<Value>) {
    let mut variants = variants(VARIANTS);
    if faults.planted {
        variants.extend(self::variants(PLANTED));
    }
    if faults.unseen {
        variants.extend(self::variants("planted-unseen | planted: unseen | 植入错误：不可见 | |"));
    }
    let experiment = json!({
        "experiment": "merge-compare", "title": "SYNTHETIC numbers: merging compared", "profile": "synthetic",
        "run_file": "# made up\nexperiment = \"merge-compare\"\ndtype = \"float32\"\nrepeats = 5\n\n[profiles.synthetic]\nbase_model = \"made-up-model\"\ndata_path = \"made-up.json\"\nmerge_dtype = \"float32\"\nevaluation_records = 8\ncompare_records = 8\n\n[profiles.synthetic.finetune]\nbatch_size = 16\nmax_steps = 500\nlora_r = 8\nlora_alpha = 16\nlora_dropout = 0.05\nlora_target_modules = [\"q_proj\", \"v_proj\"]\nlearning_rate = 3e-4\nlr_scheduler = \"cosine\"\ncutoff_len = 256\n",
        "variants": variants, "reference": "adapter", "sizes": [], "seeds": [42], "repeats": 5,
        "commands": ["cargo xtask experiment merge-compare --lora_weights adapters/lab --out results"], "environment": environment(),
    });
    let names: Vec<String> =
        variants.iter().map(|variant| variant["name"].as_str().unwrap().to_owned()).collect();
    let mut random = Random(7);
    let mut cells = Vec::new();
    for repeat in 0..5 {
        for name in &names {
            let failed = faults.failures && (name == "nf4-merge" || (name == "hf" && repeat == 4));
            cells.push(cell(name, repeat, failed, faults, &mut random));
        }
    }
    (experiment, cells)
}

fn look(name: &str, faults: MergeFaults) -> Look {
    let right = Look {
        tokens: 1.0,
        logit: 3.1e-5,
        kl: 4.0e-11,
        changed: 0.998,
        perplexity: 3.21,
        right: 7,
        speed: 118.0,
    };
    let base =
        Look { tokens: 0.11, logit: 14.0, kl: 2.4, changed: 0.0, perplexity: 9.87, right: 0, speed: 118.0 };
    match name {
        "base" | "legacy-script" => base,
        "adapter" => Look { speed: 104.0, logit: 0.0, kl: 0.0, ..right },
        "state-dict" if !faults.wrong_state_dict => right,
        "nf4-merge" => Look { tokens: 0.93, logit: 1.9, kl: 0.021, perplexity: 3.4, right: 6, ..right },
        "planted-scale" | "state-dict" => {
            Look { tokens: 0.71, logit: 6.2, kl: 0.31, perplexity: 4.4, right: 4, ..right }
        }
        "planted-rows" => Look { tokens: 0.02, logit: 22.0, kl: 6.1, perplexity: 412.0, right: 0, ..right },
        "planted-left-out" => {
            Look { tokens: 0.64, logit: 5.0, kl: 0.5, changed: 0.499, perplexity: 5.1, right: 3, ..right }
        }
        _ => right,
    }
}

fn cell(name: &str, repeat: usize, failed: bool, faults: MergeFaults, random: &mut Random) -> Value {
    let id = format!("{name}/{repeat}");
    if failed {
        return json!({"cell": id, "key": "k", "variant": name, "size": null, "seed": 42, "repeat": repeat, "ok": false,
            "error": "error: `generate` ended with exit code 1: cannot read `model.safetensors`: the header is 0 bytes long",
            "wall_s": 0.2, "metrics": {}, "series": {}, "texts": [], "samples": {}});
    }
    let look = look(name, faults);
    let noise = |random: &mut Random, part: f64| 1.0 + part * random.normal();
    let differences: Vec<f64> = match name {
        "adapter" => vec![],
        _ => (0..2000).map(|_| look.logit * 0.1 * random.normal().abs()).collect(),
    };
    let answer = |id: usize, reference: &str| {
        if id < look.right {
            reference.to_owned()
        } else {
            format!("{} once more", &reference[..reference.len().min(8)])
        }
    };
    let mut metrics = json!({
        "peak_host_mib": 410.0 * noise(random, 0.01), "perplexity": look.perplexity,
        "exact_match": look.right as f64 / 8.0, "rouge_l": 0.2 + 0.1 * look.right as f64,
        "load_s": 0.11 * noise(random, 0.1), "first_token_s": 0.019 * noise(random, 0.1),
        "decode_tokens_per_s": look.speed * noise(random, 0.03), "disk_bytes": if name == "adapter" { 1.6e6 } else { 6.1e7 },
        "token_agreement": look.tokens, "max_logit_diff": look.logit, "mean_kl": look.kl,
        "changed_fraction": look.changed,
    });
    if look.tokens < 1.0 {
        metrics["first_diverging_token"] = json!(3);
    }
    let curve =
        |scale: f64| (1..=20).map(|step| json!([step * 10, scale / f64::from(step)])).collect::<Vec<_>>();
    let series = match name {
        "adapter" => json!({"train_loss": curve(4.0), "val_loss": curve(5.0)}),
        _ => json!({}),
    };
    json!({"cell": id, "key": "k", "variant": name, "size": null, "seed": 42, "repeat": repeat, "ok": true, "error": null,
        "wall_s": 2.0, "metrics": metrics, "series": series, "texts": texts(answer), "samples": {"logit_diff": differences}})
}
