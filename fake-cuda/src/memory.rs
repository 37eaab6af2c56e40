//! Devices with too little memory: every end is in order.

use anyhow::{Context, Result, ensure};

use crate::report::Report;
use crate::scene::{Machine, Scene};

const MIB: u64 = 1 << 20;

/// Commands by name, program and arguments.
const PROGRAMS: [(&str, &str, &str); 5] = [
    (
        "finetune LoRA",
        "finetune",
        "--base_model {base} --data_path {data} --output_dir out --overwrite_output_dir --batch_size 4 --max_steps 1 --warmup_steps 0 \
         --val_set_size 0 --cutoff_len 64 --logging_steps 1 --threads 1 --dtype float32 --lora_target_modules all-linear",
    ),
    (
        "finetune QLoRA",
        "finetune",
        "--base_model {base} --data_path {data} --output_dir out --overwrite_output_dir --batch_size 4 --max_steps 1 --warmup_steps 0 \
         --val_set_size 0 --cutoff_len 64 --logging_steps 1 --threads 1 --quantize nf4 --double_quant \
         --gradient_checkpointing --optim paged_adamw_8bit",
    ),
    (
        "finetune --full",
        "finetune",
        "--base_model {base} --data_path {data} --output_dir out --overwrite_output_dir --batch_size 1 \
         --micro_batch_size 1 --max_steps 1 --warmup_steps 0 --val_set_size 0 --cutoff_len 64 --logging_steps 1 --threads 1 \
         --dtype float32 --full",
    ),
    (
        "generate",
        "generate",
        "--base_model {base} --prompt {prompt} --max_new_tokens 16 --temperature 0 --threads 1 --dtype bfloat16",
    ),
    (
        "evaluate",
        "evaluate",
        "--base_model {base} --data_path records.json --max_new_tokens 8 --threads 1 --dtype float32",
    ),
];

/// Tries each program with many sizes of memory.
pub(crate) fn run_all(scene: &Scene, long: bool, report: &mut Report) {
    for (name, program, args) in PROGRAMS {
        report.add(&format!("memory of every size: {name}"), || sweep(scene, program, args, long));
    }
}

/// Finds the least memory that is enough, by halves, and looks at every end on the way; then at sizes below it.
fn sweep(scene: &Scene, program: &str, args: &str, long: bool) -> Result<()> {
    let args = format!("{args} --device cuda");
    let fits = |bytes: u64| -> Result<bool> {
        let mut command = scene.program(program, &args, Machine::Gpus(1));
        command.env("FAKE_CUDA_BYTES", bytes.to_string());
        let ended = scene.run(command)?;
        let at = || format!("with {} KiB", bytes / 1024);
        ended.in_order().with_context(at)?;
        let said = ended.code == Some(0) || ended.stderr.contains("out of memory");
        ensure!(said, "{}, the end says nothing of memory: {}", at(), ended.stderr);
        Ok(ended.code == Some(0))
    };
    let (mut too_little, mut enough) = (MIB, 512 * MIB);
    ensure!(fits(enough)?, "512 MiB are not enough");
    ensure!(!fits(too_little)?, "1 MiB is enough");
    // As long as the two are far apart, the middle in the order of sizes.
    while enough - too_little > MIB / 4 {
        let middle = if enough > 2 * too_little {
            ((too_little as f64) * (enough as f64)).sqrt() as u64
        } else {
            too_little.midpoint(enough)
        };
        *(if fits(middle)? { &mut enough } else { &mut too_little }) = middle;
    }
    let below = if long { 40 } else { 3 };
    for part in 1..below {
        fits(too_little * part / below)?;
    }
    Ok(())
}
